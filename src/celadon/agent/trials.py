"""A release, started once in a throwaway place, looked at and stopped: what `celadon check VERSION` measures.

No slot, no fence and no settings of a release are touched. The place (`trial_places.py`) has a folder of its own that
is locked for as long as the trial lasts; what a killed agent left is found by a folder that nobody holds, and swept by
the next trial of the app.
"""

from __future__ import annotations

import contextlib
import http.client
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from celadon.agent import held, leavings, paths, probe, trial_places
from celadon.agent.errors import AgentError
from celadon.agent.main import Cancelled, Channel
from celadon.agent.trial_places import Place
from celadon.agent.wire import UNAVAILABLE

POLL = 0.1
SETTLED = 4.0  # seconds of the same wrong answer, or of listening elsewhere: it will not change
WARMING = 503  # what an application says that is not ready yet: waited for, as a rollout does
UNDER_WAY = 0.7  # seconds after which a request that has no answer is in flight
DEAF = 3.0  # seconds after SIGTERM that prove what the signal masks of the process say: it does not hear
KILLED_WITHIN = 5.0  # seconds from SIGKILL to the end that the kernel tells
SLOW_WITHIN = 60.0  # seconds for the slow request, the whole of it
LINES = 20


def try_out(args: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """`TrialFacts` without the host's name (`core/trial.py`)."""
    app = paths.app_name(args["app"])
    paths.release_id(args["release"]["id"])
    sweep(app)
    with _folder(app) as folder:
        place = trial_places.of(app, folder, args)
        with leavings.undone(place.remove):
            moved = place.prepare(channel.read)
            place.start()
            return {"moved": moved, **_measured(place, args, channel.cancelled)}


def sweep(app: str) -> None:
    """What an agent left that was killed."""
    for folder in held.left_in(_root(app)):
        trial_places.remove_left(folder)
        shutil.rmtree(str(folder), ignore_errors=True)


def _root(app: str) -> Path:
    return paths.app_dir(app) / "trials"


@contextlib.contextmanager
def _folder(app: str) -> Iterator[Path]:
    folder = _new_folder(_root(app))

    def remove() -> None:
        for _ in range(20):  # a build that was just killed may still be writing
            shutil.rmtree(str(folder), ignore_errors=True)
            if not folder.exists():
                break
            time.sleep(POLL)
        # A host that never had a release of the app has no trace of it afterwards.
        with contextlib.suppress(OSError):  # not empty: another trial, or releases, are there
            for each in (_root(app), paths.app_dir(app), paths.state_root()):
                each.rmdir()

    with held.held(folder), leavings.undone(remove):
        yield folder


def _new_folder(root: Path) -> Path:
    for _ in range(10):
        with contextlib.suppress(FileNotFoundError):  # a trial that ended just now took the empty root away
            return paths.make_dir(root / secrets.token_hex(6))
    raise AgentError(UNAVAILABLE, f"{root}: comes and goes", "run it again")


# -- what is measured ------------------------------------------------------------------------------


class _Seen(NamedTuple):
    """How it came up."""

    listening: float | None  # seconds until it listened where it was told
    elsewhere: list[str]  # where it listens instead, when it does
    passed: float | None  # seconds until the health path passed
    probe: dict[str, Any] | None  # the last answer; None: it was never asked


def _measured(place: Place, args: dict[str, Any], cancelled: threading.Event) -> dict[str, Any]:
    seen = _come_up(place, args, cancelled)
    facts: dict[str, Any] = {
        **seen._asdict(),
        "port": place.port,
        "location": _location(place, args["probe"]) if _redirects(seen.probe) else "",
        "program": "",
        "hears": None,
        "exit_code": None,
        "slow": None,
        "stopped": None,
        "patience": 0.0,
    }
    state = place.state()
    if not state.running:
        facts.update(exit_code=state.exit_code)
    else:
        facts.update(program=place.program(), hears=place.hears())
        slow = str(args["slow"]) if seen.listening is not None else ""
        facts.update(_stop(place, args, cancelled, hears=facts["hears"], slow_path=slow))
    return {**facts, "lines": place.lines(LINES)}


def _come_up(place: Place, args: dict[str, Any], cancelled: threading.Event) -> _Seen:
    """Until it passes, ends, answers the same wrong thing for a while, or has had `start_within`."""
    began = time.monotonic()
    seen = _Seen(None, [], None, None)
    since: float | None = None  # when it began to be as it is now
    while place.state().running and time.monotonic() - began < float(args["start_within"]):
        now = time.monotonic()
        there, elsewhere = _listeners(place)
        before = seen
        if there:
            answer = probe.ask(*place.door(), args["probe"])
            first = seen.listening if seen.listening is not None else now - began
            seen = seen._replace(listening=first, elsewhere=[], probe=answer)
            if answer["ok"]:
                return seen._replace(passed=time.monotonic() - began)
        else:
            seen = seen._replace(elsewhere=elsewhere)
        if _same(before, seen):
            since = since if since is not None else now
            if now - since > SETTLED:
                return seen
        else:
            since = None
        _pause(cancelled)
    return seen


def _same(before: _Seen, seen: _Seen) -> bool:
    """Whether it does what no more waiting changes."""
    if seen.probe is not None:
        status = seen.probe["status"]
        return status not in (None, WARMING) and before.probe is not None and before.probe["status"] == status
    return bool(seen.elsewhere) and seen.elsewhere == before.elsewhere


def _listeners(place: Place) -> tuple[bool, list[str]]:
    """(where it was told, elsewhere). A listener on loopback alone is out of everybody's reach."""
    rows = place.listeners()
    if rows is None:  # this host hides it: then the probe has to say
        return True, []
    there = any(row.port == place.port and place.reaches(row.address) for row in rows)
    return there, sorted(
        {
            probe.authority(row.address, row.port)
            for row in rows
            if not (row.port == place.port and place.reaches(row.address))
        }
    )


def _redirects(answer: Mapping[str, Any] | None) -> bool:
    return answer is not None and answer["status"] is not None and 300 <= answer["status"] < 400


def _location(place: Place, question: Mapping[str, Any]) -> str:
    """Where a redirect leads: what a person would ask next."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        found = probe.whole_answer(*place.door(), question, float(question["timeout"])).location
        return "".join(letter for letter in found if " " < letter < "\x7f")[:200]
    return ""


def _stop(
    place: Place, args: dict[str, Any], cancelled: threading.Event, *, hears: bool | None, slow_path: str
) -> dict[str, Any]:
    slow = None
    if slow_path:
        slow = _Slow(place, args["probe"], slow_path)
        slow.start()
        slow.under_way(cancelled)
    patience = DEAF if hears is False else float(args["release"]["stop_timeout"])
    place.terminate()
    ended = _ended(place, cancelled, patience)
    if ended is None:
        place.kill()
        _ended(place, cancelled, KILLED_WITHIN)
    facts: dict[str, Any] = {"stopped": ended, "patience": patience, "exit_code": place.state().exit_code}
    return facts if slow is None else {**facts, "slow": slow.outcome()}


def _ended(place: Place, cancelled: threading.Event, within: float) -> float | None:
    """Seconds until it had ended; None: it still runs."""
    began = time.monotonic()
    while place.state().running:
        if time.monotonic() - began >= within:
            return None
        _pause(cancelled)
    return time.monotonic() - began


class _Slow(threading.Thread):
    """A request that takes seconds, in flight when the stop signal comes."""

    def __init__(self, place: Place, question: Mapping[str, Any], path: str) -> None:
        super().__init__(daemon=True)
        self._address = place.door()
        self._question = {**question, "path": path}
        self._was_under_way = False
        self._began = time.monotonic()
        self._status: int | None = None
        self._error = ""
        self._seconds = 0.0

    def run(self) -> None:
        try:
            self._status = probe.whole_answer(*self._address, self._question, SLOW_WITHIN).status
        except (OSError, http.client.HTTPException) as error:
            self._error = (getattr(error, "strerror", None) or type(error).__name__).lower()
        self._seconds = time.monotonic() - self._began

    def under_way(self, cancelled: threading.Event) -> None:
        end = time.monotonic() + UNDER_WAY
        while self.is_alive() and time.monotonic() < end:
            _pause(cancelled)
        self._was_under_way = self.is_alive()

    def outcome(self) -> dict[str, Any]:
        """`in_flight`: it had no answer yet at SIGTERM; `status` None: it was cut."""
        self.join(SLOW_WITHIN)
        found = {"status": self._status, "seconds": self._seconds, "error": self._error}
        return {"in_flight": self._was_under_way, **found}


def _pause(cancelled: threading.Event) -> None:
    if cancelled.wait(POLL):
        raise Cancelled
