"""One command of an SSH session, run as sshd runs it: pipes, exit code, signals."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import asyncssh

from celadon.lab.processes import Process, left_behind, look

log = logging.getLogger(__name__)
CHUNK = 65536


class Account:
    """Whom commands run as: environment and home, and the processes they leave."""

    def __init__(self, home: Path, environment: Callable[[], Mapping[str, str]]) -> None:
        self.home = home
        self.environment = environment
        self.known: set[Process] = set()

    def remember(self, pid: int) -> None:
        if seen := look(pid):
            self.known.add(seen.process)

    def leader_ended(self, session: int) -> None:
        """A session's first process is gone: from now on its members themselves stand for it."""
        self.known = {process for process in self.known if look(process.pid) is not None}
        self.known |= set(left_behind(session))


async def run_on_pipes(account: Account, process: "asyncssh.SSHServerProcess[bytes]") -> None:
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    try:
        child = await asyncio.create_subprocess_exec(
            # SSH's exec request is one string, and a real sshd hands it to the account's shell. This is that
            # sshd: what Celadon itself sends is one constant command, and values go over stdin.
            *(("/bin/sh",) if process.command is None else ("/bin/sh", "-c", process.command)),
            stdin=asyncio.subprocess.PIPE,
            stdout=out_write,
            stderr=err_write,
            cwd=account.home,
            env=dict(account.environment()),
            start_new_session=True,
        )
    except BaseException:
        os.close(out_read)
        os.close(err_read)
        raise
    finally:
        os.close(out_write)
        os.close(err_write)
    account.remember(child.pid)
    feeding = asyncio.create_task(_feed(process, child))
    outputs = asyncio.gather(pump(out_read, process.stdout), pump(err_read, process.stderr))
    try:
        code = await child.wait()
        account.leader_ended(child.pid)
        # All output first, then the exit: the other way round the end of it is lost on the way. A daemon that
        # kept the pipe holds the session open, as with a real sshd.
        await outputs
    finally:
        outputs.cancel()
        feeding.cancel()
        await asyncio.gather(outputs, feeding, return_exceptions=True)
        if child.stdin is not None:
            child.stdin.close()
    finish(process, code)


def finish(process: "asyncssh.SSHServerProcess[bytes]", code: int) -> None:
    """Tell the client how the command ended, as a child's return code tells it."""
    if code < 0:
        process.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
    else:
        process.exit(code)


async def _feed(process: "asyncssh.SSHServerProcess[bytes]", child: asyncio.subprocess.Process) -> None:
    """The client's input to the command, and its signals to the command's process group."""
    stdin = child.stdin
    if stdin is None:
        return
    try:
        while True:
            try:
                data = await process.stdin.read(CHUNK)
            except asyncssh.SignalReceived as received:
                _signal(child.pid, received.signal)
                continue
            except (asyncssh.BreakReceived, asyncssh.TerminalSizeChanged):
                continue
            if not data:
                break
            stdin.write(data)
            await stdin.drain()
    except (OSError, asyncssh.Error) as error:  # the command closed its input, or the connection is lost
        log.debug("input of an SSH command ended: %s", error)
    finally:
        stdin.close()


def hang_up(group: int) -> None:
    """As a terminal that closes tells the processes on it."""
    _signal(group, "HUP")


def _signal(group: int, name: str) -> None:
    try:
        os.killpg(group, signal.Signals[f"SIG{name}"])
    except (KeyError, ProcessLookupError):
        log.debug("signal %s had nobody to go to", name)


async def pump(source: int, sink: "asyncssh.SSHWriter[bytes]") -> None:
    """Until the end of the output, or until nobody reads it any more: then the command gets SIGPIPE."""
    reader = asyncio.StreamReader(limit=CHUNK)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(source, "rb", buffering=0)
    )
    try:
        while data := await reader.read(CHUNK):
            sink.write(data)
            await sink.drain()
    except (OSError, asyncssh.Error) as error:
        log.debug("output of an SSH command has no reader: %s", error)
    finally:
        transport.close()
