"""The composition root of the command line."""


def run() -> None:
    """Answer the command line."""
