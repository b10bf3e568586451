"""Who starts a replica's supervisor, now and after a boot: systemd where it is the init and we are root, else us.

Under systemd a unit runs the same supervisor: one code path for restarts, logs and state, and systemd's own control
group and boot order around it. Elsewhere the supervisor detaches from the SSH session, and an executable file in
`~/.config/celadon/boot.d` starts it again: whatever boots the machine runs those.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from celadon.agent import paths, processes
from celadon.agent.errors import AgentError
from celadon.agent.wire import BUG

UNITS = Path("/etc/systemd/system")
SYSTEMCTL_WITHIN = 30.0

_UNIT = """[Unit]
Description={name}
After=network-online.target
Wants=network-online.target

[Service]
ExecStart={python} -I {program} {directory}
KillMode=mixed
TimeoutStopSec={grace}
Restart=on-failure
RestartSec=1

[Install]
WantedBy=multi-user.target
"""


def has_systemd() -> bool:
    is_init = Path("/run/systemd/system").is_dir() and shutil.which("systemctl") is not None
    return is_init and paths.rules_machine()


def launch(name: str, directory: Path, grace: float) -> None:
    """A supervisor for this directory, now and at every boot until `forget`."""
    program = _program()
    if has_systemd():
        unit = unit_text(name, directory, program, grace)
        paths.write_atomically(UNITS / (name + ".service"), unit.encode("utf-8"), 0o644)
        _systemctl(["daemon-reload"])
        _systemctl(["enable", "--now", name + ".service"])
        return
    script = boot_script(program, directory)
    paths.write_atomically(_boot_file(name), script.encode("utf-8"), 0o700)
    subprocess.run(
        [sys.executable, "-I", str(program), "--detach", str(directory)],
        check=True,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=SYSTEMCTL_WITHIN,
    )


def forget(name: str) -> None:
    """It does not come back at the next boot. A running one is not touched."""
    if has_systemd() and (UNITS / (name + ".service")).exists():
        _systemctl(["disable", name + ".service"])
        (UNITS / (name + ".service")).unlink()
        _systemctl(["daemon-reload"])
    with contextlib.suppress(FileNotFoundError):
        _boot_file(name).unlink()


def unit_text(name: str, directory: Path, program: Path, grace: float) -> str:
    """The unit file. It holds names and paths that Celadon made, never a value of the application."""
    for path in (sys.executable, str(program), str(directory)):
        if any(character in path for character in " \t\n\"'\\%$"):
            raise AgentError(BUG, f"{path!r:.200} cannot be written in a unit file")
    values = {"name": name, "python": sys.executable, "program": program, "directory": directory}
    return _UNIT.format(grace=int(grace) + 10, **values)


def boot_script(program: Path, directory: Path) -> str:
    """A Python file, so that no path needs a shell's quoting."""
    argv = [sys.executable, "-I", str(program), "--detach", str(directory)]
    return f"#!{sys.executable}\nimport os\n\nos.execv({argv[0]!r}, {argv!r})\n"


def _program() -> Path:
    """The supervisor as a file of its own, by content: a newer agent does not change what runs."""
    spec = importlib.util.find_spec("celadon.agent.supervisor")
    text = spec.loader.get_source(spec.name) if spec and spec.loader else None  # type: ignore[attr-defined]
    if not text:
        raise AgentError(BUG, "the supervisor's source is not in the bundle")
    data = text.encode("utf-8")
    path = paths.state_root() / (f"supervisor-{hashlib.sha256(data).hexdigest()[:12]}.py")
    if not path.exists():
        paths.write_atomically(path, data)
    return path


def _boot_file(name: str) -> Path:
    return paths.config_dir() / "boot.d" / name


def _systemctl(words: list[str]) -> None:
    processes.run(["systemctl", "--quiet", *words], cwd="/", seconds=SYSTEMCTL_WITHIN)
