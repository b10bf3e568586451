"""One command from its words to its exit code: routing, Ctrl-C, errors. What a verb does is in `verbs/`."""

import asyncio
import importlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any, Protocol, cast

from celadon.cli import failure
from celadon.cli.app import Connect, Connected, Need
from celadon.cli.figures import safe
from celadon.cli.main import route
from celadon.cli.output import Output, Result
from celadon.cli.parse import parse
from celadon.cli.words import VERBS, Verb
from celadon.config.errors import closest
from celadon.config.project import Project, open_project
from celadon.core.errors import CeladonError, Refused

STOPPED = 4
PATIENCE = 8.0  # seconds after the first Ctrl-C: a drive ends within 5
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SHOW_CURSOR = "\x1b[?25h"


class Call:
    """What a verb gets: its values, the streams, and the way to the world."""

    def __init__(  # noqa: PLR0913 - one place where a command is put together
        self,
        verb: Verb,
        values: Mapping[str, Any],
        output: Output,
        *,
        environ: Mapping[str, str],
        cwd: Path,
        stdin: IO[str],
        connect: Connect | None = None,
    ) -> None:
        self.verb = verb
        self.values = values
        self.output = output
        self.environ = environ
        self.cwd = cwd
        self.stdin = stdin
        self.app = ""  # its name, once it is known
        self.touched = False  # something may have been changed: an error must not say that nothing was
        self.stop: Callable[[], None] | None = None  # ends a drive safely; None: there is none
        self.patience = PATIENCE
        self.follows = False  # Ctrl-C is how one leaves: exit 0
        self._connect = connect
        self._project: Project | None = None

    @property
    def project(self) -> Project:
        if self._project is None:
            self._project = open_project(self.values.get("config"), start=self.cwd)
            self.app = self._project.config.app
        return self._project

    @asynccontextmanager
    async def connected(self, need: Need | None = None) -> AsyncIterator[Connected]:
        """The world as the config and the environment describe it. Nothing is contacted before it is asked."""
        connect = self._connect or _real_connect()
        async with connect(self.project, need or Need(), self.environ) as connected:
            yield connected
            if connected.home.advice is not None:
                self.output.warn(connected.home.advice)

    async def confirm(self, question: str) -> bool:
        """Ask on stderr. Off a terminal only `--yes` is an answer."""
        if self.values["yes"]:
            return True
        if not self.stdin.isatty():
            raise Refused("this asks before it changes anything, and nobody is here to answer", hint="add --yes")
        return await self.ask(question)

    async def ask(self, question: str) -> bool:
        """A question that only a person can answer."""
        self.output.stderr.write(f"{safe(question)} [y/N] ")
        self.output.stderr.flush()
        return (await self._line()).strip().lower() in ("y", "yes")

    async def _line(self) -> str:
        """One line, without a thread: a thread that reads could not be ended by Ctrl-C."""
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        descriptor = self.stdin.fileno()
        loop.add_reader(descriptor, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(descriptor)
        return self.stdin.readline()


class VerbModule(Protocol):
    async def run(self, call: Call) -> Result: ...


def answer_process(arguments: list[str]) -> int:
    """The command line of this process."""
    import sys  # noqa: PLC0415 - beside its only use

    output = Output.of_process(os.environ)
    if sys.stdin is None:  # a service manager may have closed it
        with Path(os.devnull).open(encoding="utf-8") as nothing:
            return answer(arguments, output, environ=os.environ, cwd=Path.cwd(), stdin=nothing)
    return answer(arguments, output, environ=os.environ, cwd=Path.cwd(), stdin=sys.stdin)


def answer(
    arguments: list[str],
    output: Output,
    *,
    environ: Mapping[str, str],
    cwd: Path,
    stdin: IO[str],
    connect: Connect | None = None,
) -> int:
    """One command. Everything it reads from its surroundings is an argument, so tests need no process."""
    words = arguments[: arguments.index("--")] if "--" in arguments else arguments
    output.json = "--json" in words
    call: Call | None = None
    try:
        verb, rest = _verb(arguments)
        values = parse(verb, rest)
        output.json, output.quiet, output.verbose = values["json"], values["quiet"], values["verbose"]
        call = Call(verb, values, output, environ=environ, cwd=cwd, stdin=stdin, connect=connect)
        module = cast("VerbModule", importlib.import_module(f"celadon.cli.verbs.{verb.module}"))
        result = asyncio.run(_until_stopped(call, module.run(call)))
    except CeladonError as error:
        return _failed(output, error, call)
    except Exception as error:  # noqa: BLE001 - our bug, told as one
        return _crashed(output, error, arguments, environ)
    return _ended(output, result, call)


def _ended(output: Output, result: Result, call: Call) -> int:
    output.end(result if result.app else _named(result, call.app))
    return result.exit


def _named(result: Result, app: str) -> Result:
    from msgspec.structs import replace  # noqa: PLC0415 - beside its only use

    return replace(result, app=app)


async def _until_stopped(call: Call, work: Coroutine[Any, Any, Result]) -> Result:
    """The first signal ends what goes on safely, the second leaves at once."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    seen = 0

    def stop() -> None:
        nonlocal seen
        seen += 1
        if seen > 1:
            _leave(call.output)
        if call.stop is None:
            task.cancel()
            return
        if call.touched:
            call.output.say("Stopping: nothing new is started (again: leave at once).")
        call.stop()
        loop.call_later(call.patience, task.cancel)

    with_signals = _may_catch()
    for number in SIGNALS if with_signals else ():
        loop.add_signal_handler(number, stop)
    try:
        return await task
    except asyncio.CancelledError:
        if not seen:
            raise
        return _stopped(call)
    finally:
        for number in SIGNALS if with_signals else ():
            loop.remove_signal_handler(number)
            if seen:  # it is on its way out: the next one leaves at once also where no loop is left to hear it
                signal.signal(number, lambda *_: _leave(call.output))


def _stopped(call: Call) -> Result:
    if call.follows:
        return Result()
    if call.touched:
        call.output.error(["Stopped driving; what was in flight may still take effect.", "hint: celadon status"])
    else:
        call.output.error(["Stopped.", failure.NOTHING])
    return Result(result="unfinished", exit=STOPPED, next=("celadon status",) if call.touched else ())


def _leave(output: Output) -> None:
    """No clean-up: the lease lapses by itself."""
    if output.stderr.isatty():
        output.stderr.write(SHOW_CURSOR + "\n")
        output.stderr.flush()
    os._exit(STOPPED)


def _may_catch() -> bool:
    """Signals reach only the main thread; tests run commands in others too."""
    import threading  # noqa: PLC0415 - beside its only use

    return threading.current_thread() is threading.main_thread()


def _failed(output: Output, error: CeladonError, call: Call | None) -> int:
    if error.exit_code == 1:
        output.error([f"error: this is a bug in Celadon: {error.message}", f"hint: report it: {failure.ISSUES}"])
    else:
        untouched = error.exit_code == 2 and call is not None and call.verb.name in OPENS and not call.touched
        told = failure.lines(error, untouched=untouched)
        output.error(told)
    output.end(failure.result_of(error, call.app if call is not None else ""), failure.as_json(error))
    return error.exit_code


OPENS = ("deploy", "rollback", "init", "hosts trust", "infra plan", "infra apply", "infra renew", "tls push")


def _crashed(output: Output, error: Exception, arguments: list[str], environ: Mapping[str, str]) -> int:
    report = failure.write_report(error, arguments, environ)
    where = f"; report without secrets: {report}" if report is not None else ""
    output.error([f"error: this is a bug in Celadon ({type(error).__name__}){where}; send it to {failure.ISSUES}"])
    told: dict[str, Any] = {
        "code": "bug",
        "where": None,
        "message": type(error).__name__,
        "details": [],
        "hint": None,
    }
    output.end(Result(result="failed", exit=1), {**told, "report": str(report) if report is not None else None})
    return 1


def _verb(arguments: list[str]) -> tuple[Verb, list[str]]:
    verb, word, rest = route(arguments)
    if verb is None:
        raise _unknown(word)
    return verb, rest


def _unknown(word: str) -> Refused:
    names = [verb.name for verb in VERBS]
    meant = closest(word, names)
    inner = [name for name in names if name.startswith(f"{word} ")]
    if inner:
        return Refused(f"celadon {word}: which?", hint=" · ".join(f"celadon {name}" for name in inner))
    hint = f"did you mean `celadon {meant}`?" if meant else "celadon --help lists all verbs"
    return Refused(f"{word!r} is not a verb" if word else "no verb was given", hint=hint)


def _real_connect() -> Connect:
    from celadon.cli.compose import connect  # noqa: PLC0415 - imports every adapter

    return connect
