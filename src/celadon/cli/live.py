"""Shows a drive while it goes on: redrawn in place on a terminal, else one line an event and a heartbeat."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from celadon.cli.events import as_line, snake, told
from celadon.cli.figures import clock as clock_text
from celadon.cli.figures import safe, time_of_day
from celadon.cli.output import Output, Style
from celadon.cli.progress import BACK, Progress, coming, public, stays
from celadon.cli.view import Line, Picture, draw
from celadon.core.action import Act, Action, Decision, Finish, Halt, Record
from celadon.core.intent import Intent
from celadon.core.journal import ActionFailed, Event, Journal
from celadon.core.scene import Observed
from celadon.ports import Clock

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

HEARTBEAT = 15.0  # seconds
STYLES: dict[Style, str] = {
    "plain": "",
    "good": "green",
    "bad": "red",
    "warn": "yellow",
    "dim": "dim",
    "strong": "bold",
    "blue": "blue",
    "green": "green",
}


class Screen:
    """A `Watcher`. Between decisions it goes on drawing, so that a wait is seen to be one."""

    def __init__(self, output: Output, clock: Clock) -> None:
        self._output = output
        self._now = clock.now
        self._utc = clock.utc
        self._progress = Progress()
        self._picture: Picture | None = None
        self._said_at = clock.now()
        self._stack = ExitStack()
        self._live: Live | None = None
        self._followed = False  # another driver acts, and its journal is read

    def __call__(self, observed: Observed, intent: Intent, decision: Decision, now: float) -> None:
        failed = failures_between(self._picture.observed.journal, observed.journal) if self._picture is not None else []
        before, self._progress = self._progress, self._progress.after(observed, intent, decision, now)
        self._picture = Picture(progress=self._progress, observed=observed, intent=intent, now=now)
        if self._output.json:
            news = (*(Act((Record(event),), event.error) for event in failed), decision)
            for line in (line for each in news for line in events_of(each, self._progress, at=self._utc())):
                self._output.stream(line)
        elif not self._output.live:
            for event in failed:
                self._say(f"{self._progress.now}: {told(event)}")
            self._tell(before, intent, decision)
        elif self._live is None:
            self._draw()

    def heard(self, event: Event) -> None:
        """What another driver did, where this command follows it."""
        self._followed, self._said_at = True, self._now()
        if self._output.json:
            self._output.stream(as_line(event))
        else:
            self._output.say(f"{time_of_day(event.at)}  {told(event)}")

    @property
    def stays(self) -> str | None:
        """What serves now, as last seen; None: nothing was seen."""
        return stays(self._picture.observed, self._picture.intent.rollout) if self._picture is not None else None

    @asynccontextmanager
    async def shown(self) -> AsyncIterator["Screen"]:
        """While this lasts. The view is gone afterwards: the summary on stdout replaces it."""
        beating = asyncio.create_task(self._beat())
        try:
            with ExitStack() as self._stack:
                yield self
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    def _draw(self) -> None:
        """Begins with the first decision: until then there may be a question on the screen."""
        from rich.console import Console  # noqa: PLC0415 - costs what only a terminal should pay
        from rich.live import Live  # noqa: PLC0415 - see above

        coloured = self._output.coloured(self._output.stderr)
        # The width is ours: rich would ask the environment first, and then any of the three streams.
        console = Console(file=self._output.stderr, no_color=not coloured, highlight=False, width=self._output.width)
        self._live = Live(
            get_renderable=lambda: self._text(self._output.width),
            console=console,
            transient=True,
            refresh_per_second=8,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._stack.enter_context(self._live)

    def lines(self, width: int) -> list[Line]:
        if self._picture is None:
            return [Line("looking at hosts and balancer …")]
        return draw(msgspec.structs.replace(self._picture, now=self._now()), width)

    def _text(self, width: int) -> "Text":
        from rich.text import Text  # noqa: PLC0415 - see `shown`

        text = Text(no_wrap=True, overflow="ellipsis")
        for line in self.lines(width):
            text.append(line.text + "\n", style=STYLES[line.style])
        return text

    # -- without a terminal --------------------------------------------------------------------

    def _tell(self, before: Progress, intent: Intent, decision: Decision) -> None:
        progress = self._progress
        if before.now and progress.now not in (before.now, "end"):
            later = coming(progress, intent.rollout, back=progress.now in BACK)
            self._say(f"{progress.now}: {decision.because}" + (f" (then {' · '.join(later)})" if later else ""))
        elif _is_event(decision) or not before.now:
            self._say(f"{progress.now}: {decision.because}")

    def _say(self, text: str) -> None:
        self._said_at = self._now()
        began = self._progress.began if self._picture is not None else self._said_at
        self._output.say(f"{clock_text(self._said_at - began):>6}  {safe(text)}")

    async def _beat(self) -> None:
        """A long wait says that it is one. Logs that fall silent look like a job that hangs."""
        while True:
            await asyncio.sleep(max(0.1, self._said_at + HEARTBEAT - self._now()))
            if self._now() - self._said_at < HEARTBEAT:
                continue
            if self._picture is None:
                waiting = "another driver acts; nothing new in its journal"
                self._say(waiting if self._followed else "looking, or another driver has the lease")
                continue
            if self._output.live:
                self._said_at = self._now()
                continue
            self._say(f"{self._progress.now}: {self._progress.because} ({public(self._picture.observed)})")


def failures_between(before: Journal, after: Journal) -> list[ActionFailed]:
    """Without those that are final: each is the reason of what comes next, which tells it."""
    new = {action: failure for action, failure in after.failures.items() if before.failures.get(action) != failure}
    return [ActionFailed(action=action, error=error) for action, (_, _, error, final) in new.items() if not final]


def _is_event(decision: Decision) -> bool:
    if isinstance(decision, (Finish, Halt)):
        return True
    return isinstance(decision, Act) and not all(isinstance(action, Record) for action in decision.actions)


def events_of(decision: Decision, progress: Progress, *, at: float) -> list[dict[str, Any]]:
    """JSON Lines of one decision: an object an action, or the end."""
    rest = {"because": decision.because, "step": progress.now}
    match decision:
        case Act(actions=actions):
            return [
                {"at": at, "event": snake(type(deed).__name__), **rest, "data": _data(deed)}
                for deed in map(_deed, actions)
            ]
        case Finish() | Halt():
            return [{"at": at, "event": snake(type(decision).__name__), **rest}]
        case _:
            return []


def _deed(action: Action) -> Action | Event:
    """What is written down is the news, not the writing."""
    return action.event if isinstance(action, Record) else action


def _data(deed: Action | Event) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(deed)
    return {name: value for name, value in fields.items() if name not in ("at", "because", "type")}
