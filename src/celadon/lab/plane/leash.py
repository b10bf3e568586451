"""Becomes another program that dies with the process that started it, even by SIGKILL. Run as a file.

`python -I -S leash.py PARENT_PID PROGRAM ARGUMENT...`. A file of its own because the wish (Linux: prctl) must be
made in the child, and running Python code between fork and exec of a process with threads can hang.
The kernel watches the thread that started it: start it from the one that runs the event loop, which lives on.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl refused")
    if os.getppid() != parent:
        sys.exit(1)  # it died before the wish was made: nobody would ever end us
    os.execv(command[0], command)  # noqa: S606 - a list, no shell: this is what the file is for


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
