"""The steps of a deploy to two hosts a colour, each by an effect that begins in it: `@ 6 start` on stderr."""

STEPS = {
    "open": 1,
    "settings": 2,
    "release": 4,
    "start": 6,
    "warm-up": 8,
    "pilot": 10,
    "raise": 12,
    "lower": 14,
    "bake": 16,
    "retire": 18,
    "stop": 19,
    "prune": 22,
}
IDLE = ("open", "settings", "release", "start", "warm-up")  # the candidate has no traffic yet
SERVING = ("raise", "lower", "bake", "retire", "stop", "prune")


def begins(step: str) -> str:
    """What the command says when the step's effect begins."""
    return rf"^@ {STEPS[step]} "
