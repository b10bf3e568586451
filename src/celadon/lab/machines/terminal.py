"""A command or a shell on a pseudo-terminal, for people who look around in an instance (`ssh`, `ssh -t`)."""

import asyncio
import fcntl
import logging
import os
import struct
import termios

import asyncssh

from celadon.lab.machines.session import Account, finish, hang_up, pump

log = logging.getLogger(__name__)

# A session's first process gets the terminal that it opens as its controlling one: no code of ours has to run
# between fork and exec. Constants only; name and command come as arguments.
TAKE = 'exec <"$0" >"$0" 2>&1; exec /bin/sh "$@"'

# A job in the background may hold the terminal open for ever, so the end of the output cannot be waited for.
LAST_WORDS_SECONDS = 0.5


async def run_on_terminal(account: Account, process: "asyncssh.SSHServerProcess[bytes]") -> None:
    master, slave = os.openpty()
    try:
        _resize(master, process)
        environment = {**account.environment(), "TERM": process.get_terminal_type() or "dumb"}
        command = ("-i",) if process.command is None else ("-c", process.command)
        child = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", TAKE, os.ttyname(slave), *command),
            stdin=slave,  # held open from the first moment: a terminal that nobody has open has ended
            stdout=slave,
            stderr=slave,
            cwd=account.home,
            env=environment,
            start_new_session=True,
        )
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)
    account.remember(child.pid)
    typing = asyncio.create_task(_type(process, master))
    output = asyncio.create_task(pump(os.dup(master), process.stdout))
    ended, left = asyncio.create_task(child.wait()), asyncio.create_task(process.wait_closed())
    try:
        await asyncio.wait({ended, left}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            await asyncio.wait({output}, timeout=LAST_WORDS_SECONDS)
    finally:
        for task in (typing, output, left):
            task.cancel()
        await asyncio.gather(typing, output, left, return_exceptions=True)
        os.close(master)  # if the session still runs, its processes get SIGHUP: the client has gone
        if not ended.done():
            hang_up(child.pid)  # also where the kernel has no controlling terminal to tell it through
    code = await ended
    account.leader_ended(child.pid)
    finish(process, code)


async def _type(process: "asyncssh.SSHServerProcess[bytes]", master: int) -> None:
    """What the client types, and the size of its window."""
    while True:
        try:
            data = await process.stdin.read(4096)
        except asyncssh.TerminalSizeChanged:
            _resize(master, process)
            continue
        except (asyncssh.BreakReceived, asyncssh.SignalReceived):
            continue  # on a terminal the keys say it
        except (OSError, asyncssh.Error) as error:
            log.debug("input of a terminal ended: %s", error)
            return
        if not data:
            return
        await asyncio.to_thread(os.write, master, data)


def _resize(master: int, process: "asyncssh.SSHServerProcess[bytes]") -> None:
    columns, rows, width, height = process.get_terminal_size()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, width, height))
