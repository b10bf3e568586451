"""Process 1 of a test host: makes the namespaces it was born in look like a machine, then runs sshd and dockerd.

Started by `netns_hosts.py`, as a program. It writes nothing outside its folder: what it mounts ends with it. It
begins when a line comes on its standard input, because its network is made meanwhile.
"""

import ctypes
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

MS_BIND, MS_NOSUID, MS_NODEV, MS_NOEXEC = 4096, 2, 4, 8


def mount(source: str, target: str, kind: str, flags: int = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None):
        raise OSError(ctypes.get_errno(), "mount", target)


def become_a_machine(folder: Path, name: str) -> None:
    socket.sethostname(name)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV)
    Path("/run/sshd").mkdir()
    for inside in ("root", "var/lib"):
        (folder / inside).mkdir(parents=True, exist_ok=True)
        mount(str(folder / inside), f"/{inside}", "none", MS_BIND)
    # A login shell of the machine's own would read its start-up files: 350 ms a command.
    users = [line for line in Path("/etc/passwd").read_text().splitlines() if not line.startswith("root:")]
    (folder / "passwd").write_text("\n".join(["root:x:0:0:root:/root:/bin/sh", *users, ""]))
    mount(str(folder / "passwd"), "/etc/passwd", "none", MS_BIND)


def start(command: list[str], path: str, log: Path) -> int:
    with log.open("ab") as out:
        nothing = subprocess.DEVNULL
        return subprocess.Popen(command, env={"PATH": path}, stdin=nothing, stdout=out, stderr=out).pid


def main() -> None:
    settings = json.loads(Path(sys.argv[1]).read_text())
    folder = Path(settings["folder"])
    sys.stdin.readline()
    become_a_machine(folder, settings["name"])
    services = {start(command, settings["path"], folder / "log"): command for command in settings["services"]}
    while True:  # an init takes in every orphan, or containers' shims would stay as zombies
        pid, status = os.wait()
        command = services.pop(pid, None)
        if command is not None and (folder / "restarts").exists():
            services[start(command, settings["path"], folder / "log")] = command  # as systemd does
        elif command is not None:
            sys.exit(f"a service of {settings['name']} ended: {status}")


if __name__ == "__main__":
    main()
