"""Nothing is broken in a good release. `celadon demo --break CASE` writes another file here."""


def status():
    return 200


def health():
    return 200
