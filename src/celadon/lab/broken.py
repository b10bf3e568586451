"""Bad releases, as the file `broken.py` that makes the demo's application one. Each breaks something real."""

from pathlib import Path

import msgspec

from celadon.core.errors import Refused

APP = Path(__file__).with_name("demo_app")
WELL = (APP / "broken.py").read_text()


class Case(msgspec.Struct, frozen=True):
    """One way to be bad, and what is expected of Celadon about it."""

    name: str
    sentence: str
    source: str
    command: tuple[str, ...] = ()  # instead of the application's own
    serves: bool = False  # it takes traffic before it shows; else it never sees a request
    good: bool = False  # it only looks bad: the rollout succeeds all the same


def _boot(lines: str) -> str:
    return f"{lines}\n{WELL}"


NEVER_READY = WELL.replace("def health():\n    return 200", "def health():\n    return 503")
DIES = _boot("import os\nimport threading\n\nthreading.Timer(5, os._exit, (1,)).start()")
ERRORS = _boot("import itertools\n\ncount = itertools.count(1)").replace(
    "def status():\n    return 200", "def status():\n    return 500 if next(count) % 10 == 0 else 200"
)
DEAF = _boot(
    "import signal\n\nsignal.signal = lambda *_: None\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})"
)
FULL = _boot("with open('/dev/full', 'w') as cache:\n    cache.write('what it wants to keep')")

CASES = {
    case.name: case
    for case in (
        Case("crash-at-boot", "dies at import", _boot("import a_module_that_nobody_installed")),
        Case("never-ready", "starts and is never well", NEVER_READY),
        Case("dies-after-5s", "dies 5 s after its start", DIES, serves=True),
        Case("errors-10-percent", "answers every tenth request with 500", ERRORS, serves=True),
        Case("ignores-sigterm", "does not stop when it is asked to", DEAF, serves=True, good=True),
        Case(
            "wrong-port",
            "listens where nobody looks",
            WELL,
            command=("uvicorn", "--host", "{host}", "--port", "4999", "main:app"),
        ),
        Case("disk-full", "finds its disk full when it starts", FULL),
    )
}


def find(name: str) -> Case:
    if name not in CASES:
        raise Refused(f"no case {name!r}", hint=f"one of: {', '.join(CASES)}")
    return CASES[name]
