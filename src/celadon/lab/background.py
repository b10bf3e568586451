"""The lab as a process of its own: `lab up` starts it, `lab down` ends it and leaves nothing behind.

Run as `python -m celadon.lab.background FOLDER`. The folder holds everything: who runs (`lab.pid`), where it is found
(`lab.json`, written when it answers), its log. After a kill -9 the next `up` or `down` cleans what was left.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import msgspec

from celadon.core.errors import Refused, Unavailable
from celadon.lab.lab import LabFacts, clean, running
from celadon.lab.processes import Process, end_from_pidfile, gone, look, send, write_pidfile

READY_WITHIN = 30.0  # seconds
END_WITHIN = 15.0
MARK = "lab.pid"


def folder() -> Path:
    """Where the one lab of this user lives. CELADON_LAB_DIR: another one beside it."""
    if given := os.environ.get("CELADON_LAB_DIR"):
        return Path(given).absolute()
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "celadon" / "lab"


def up(root: Path, *, state: Path | None = None) -> LabFacts:
    """Start the lab of this folder, or find the one that runs. Returns when its API answers."""
    if (facts := find(root)) is not None:
        return facts
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    clean(root)
    (root / "lab.json").unlink(missing_ok=True)
    pid = _spawn(root, [str(state.absolute())] if state is not None else [])
    write_pidfile(root / MARK, pid)
    deadline = time.monotonic() + READY_WITHIN
    while not (root / "lab.json").exists():
        if look(pid) is None:
            raise Unavailable("the lab ended before it answered", details=_tail(root / "log"))
        if time.monotonic() > deadline:
            end_from_pidfile(root / MARK)
            raise Unavailable(f"the lab did not answer within {READY_WITHIN:g} s", details=_tail(root / "log"))
        time.sleep(0.02)
    return msgspec.json.decode((root / "lab.json").read_bytes(), type=LabFacts)


def _spawn(root: Path, state: list[str]) -> int:
    """A session of its own: Ctrl-C in the shell that started it is not meant for it. It outlives its parent."""
    log = str(root / "log")
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "celadon.lab.background", str(root), *state],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def find(root: Path) -> LabFacts | None:
    """The running lab of this folder, if it runs."""
    process = _process(root)
    if process is None or gone(process) or not (root / "lab.json").exists():
        return None
    return msgspec.json.decode((root / "lab.json").read_bytes(), type=LabFacts)


def down(root: Path) -> bool:
    """End it, with every process of its instances, and remove the folder. False: there was nothing."""
    if not root.exists():
        return False
    if not (root / "token").exists() and not (root / MARK).exists():
        raise Refused(f"{root} is not a lab's folder; nothing was removed", hint="look at CELADON_LAB_DIR")
    process = _process(root)
    if process is not None and not gone(process):
        send(process, signal.SIGTERM)
        deadline = time.monotonic() + END_WITHIN
        while not gone(process) and time.monotonic() < deadline:
            time.sleep(0.02)
        end_from_pidfile(root / MARK)
        with contextlib.suppress(ChildProcessError):  # only whoever started it can and must take note of its end
            os.waitpid(process.pid, 0)
    clean(root)
    shutil.rmtree(root)
    return True


def _process(root: Path) -> Process | None:
    try:
        return msgspec.json.decode((root / MARK).read_bytes(), type=Process)
    except FileNotFoundError:
        return None


def _tail(log: Path) -> tuple[str, ...]:
    return tuple(log.read_text(errors="replace").splitlines()[-10:])


async def _serve(root: Path, state: Path | None) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with running(root, state=state) as facts:
        _announce(root, facts)
        await ended.wait()


def _announce(root: Path, facts: LabFacts) -> None:
    new = root / "lab.json.new"
    new.touch(mode=0o600)
    new.write_bytes(msgspec.json.encode(facts))
    new.replace(root / "lab.json")


def main() -> None:
    root, *state = sys.argv[1:]
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(Path(root), Path(state[0]) if state else None))


if __name__ == "__main__":
    main()
