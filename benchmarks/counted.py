"""Run one `celadon` command in this process and count what it asked of the world: the ports are watched, not changed.

python -m benchmarks.counted FILE WORDS…

FILE gets `Counted` as JSON when the command has ended. What is printed and the exit code are the command's own.
"""

import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from benchmarks.figures import memory

from celadon.adapters.host import Requests, SshHosts
from celadon.adapters.linode_http import CallCounts, LinodeHttp
from celadon.cli.app import Connected, Need
from celadon.cli.call import answer
from celadon.cli.compose import connect
from celadon.cli.output import Output
from celadon.config.project import Project


class Counted(msgspec.Struct, frozen=True):
    """`hosts` by name. Of the deployer alone: `peak` memory in MiB, `processor` time in seconds."""

    hosts: dict[str, Requests]
    operations: dict[str, int]
    calls: CallCounts
    peak: float
    processor: float
    seconds: float
    exit: int


class Counters:
    """Every hosts port and every API transport that the command made."""

    def __init__(self) -> None:
        self.hosts: list[SshHosts] = []

    @asynccontextmanager
    async def connected(self, project: Project, need: Need, environ: Mapping[str, str]) -> AsyncIterator[Connected]:
        async with connect(project, need, environ) as whole:
            if isinstance(whole.reach, SshHosts):
                self.hosts.append(whole.reach)
            yield whole


def count_calls() -> list[LinodeHttp]:
    """Transports note themselves here when they are made: the account is closed before a caller could ask it."""
    made: list[LinodeHttp] = []
    first = LinodeHttp.__init__

    def noted(self: LinodeHttp, *arguments: object, **keywords: object) -> None:
        made.append(self)
        first(self, *arguments, **keywords)  # type: ignore[arg-type]  # passed on as they came

    LinodeHttp.__init__ = noted  # type: ignore[method-assign]  # in this process only, which measures and ends
    return made


def main() -> None:
    file, *words = sys.argv[1:]
    began = time.monotonic()
    made = count_calls()
    counters = Counters()
    code = answer(
        words,
        Output.of_process(os.environ),
        environ=os.environ,
        cwd=Path.cwd(),
        stdin=sys.stdin,
        connect=counters.connected,
    )
    hosts: dict[str, Requests] = {}
    operations: dict[str, int] = {}
    for each in counters.hosts:
        hosts |= each.count_requests
        operations |= each.count_operations
    names = CallCounts.__struct_fields__
    counted = Counted(
        hosts=hosts,
        operations=operations,
        calls=CallCounts(**{name: sum(getattr(http.counts, name) for http in made) for name in names}),
        peak=memory(os.getpid(), "VmHWM"),
        processor=time.process_time(),
        seconds=time.monotonic() - began,
        exit=code,
    )
    Path(file).write_bytes(msgspec.json.encode(counted))
    raise SystemExit(code)


if __name__ == "__main__":
    main()
