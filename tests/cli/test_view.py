"""The live view and the summary from hand-made values: what a person reads, at any width."""

import io
import json

import msgspec
import pytest

from celadon.cli import ending as endings
from celadon.cli import events
from celadon.cli.ending import verdict
from celadon.cli.figures import age, clock, percent, safe, size, table
from celadon.cli.live import Screen, events_of
from celadon.cli.output import Output, Result
from celadon.cli.progress import Progress, sides, stays
from celadon.cli.view import Picture, draw
from celadon.core.action import Act, Decision, Finish, Halt, PutArtifact, Record, SetNode, Wait
from celadon.core.intent import Health, Intent, Rollout, Timing, Verify
from celadon.core.journal import ActionFailed, Asked, Committed, Event, Journal, Noted, Returning
from celadon.core.observed import (
    HostFacts,
    HostSight,
    Mode,
    NodeFacts,
    NodeSight,
    Probe,
    ProbeFacts,
    PublicSight,
    ReplicaFacts,
    SlotFacts,
    SlotSight,
)
from celadon.core.release import Colour, Release, Slot
from celadon.core.scene import Observed
from celadon.core.strategy import blue_green
from celadon.drive.app import Ending
from tests.cli.worlds import Machine

BLUE, GREEN = Slot("blue-1", "192.168.130.11", 5000), Slot("green-1", "192.168.130.21", 5000)
OLD = Release(app="hello", version="v1.0.0", artifact="r/hello@sha256:1", runtime="docker")
NEW = Release(app="hello", version="v1.1.0", artifact="r/hello@sha256:2", runtime="docker")
ROLLOUT = Rollout(
    number=14, app="hello", kind="deploy", candidate=NEW, candidate_colour=Colour.GREEN, stable=OLD,
    stable_colour=Colour.BLUE, slots={Colour.BLUE: (BLUE,), Colour.GREEN: (GREEN,)}, ports=(80,),
    balancer="app-nodebalancer", steps=blue_green((), hold=False), timing=Timing(),
    health=Health(probe=Probe("/", "h")), verify=Verify(url="http://myapp.example.com/"),
)  # fmt: skip
INTENT = Intent(rollout=ROLLOUT)
SHIFTING = Journal(opened_at=0.0, raised=frozenset({2}), warmed=frozenset({(GREEN.key, "r")}))


def node(number: int, slot: Slot, mode: Mode, weight: int = 100, *, up: bool | None = True) -> NodeSight:
    facts = NodeFacts(80, 1, number, slot.host, slot.node_address, mode, weight, up)
    return NodeSight(facts=facts, read_at=10.0, since=5.0, reads=2, was_off=True, rose=True)


def host(slot: Slot, release: Release, *, ok: bool = True, connections: int | None = 1) -> HostSight:
    facts = SlotFacts(
        slot.key,
        ReplicaFacts(release.id, "r", running=True, restarts=0, exit_code=None),
        listening=True,
        open=connections,
        opened=9,
        probe=ProbeFacts(ok, 200 if ok else 503, "", 0.01),
    )
    seen = HostFacts(slot.host, "boot", 0.0, 10**10, 1)
    return HostSight(facts=seen, seen_at=10.0, lost_since=None, slots={slot.key: SlotSight(facts=facts)})


def observed(blue: Mode = Mode.REJECT, green: Mode = Mode.ACCEPT, journal: Journal = SHIFTING) -> Observed:
    return Observed(
        nodes={1: node(1, BLUE, blue), 2: node(2, GREEN, green)},
        hosts={"blue-1": host(BLUE, OLD), "green-1": host(GREEN, NEW, connections=4)},
        public=PublicSight(sent=640, failed=0),
        journal=journal,
    )


def picture(decision: Decision, world: Observed | None = None, now: float = 41.0) -> Picture:
    seen = world or observed()
    progress = Progress().after(observed(Mode.ACCEPT, Mode.REJECT, Journal()), INTENT, FIRST, 0.0)
    progress = progress.after(seen, INTENT, decision, 10.0)
    return Picture(progress=progress, observed=seen, intent=INTENT, now=now)


FIRST = Act((PutArtifact("green-1"),), "release to green-1")
SETTLE = Wait(70.0, "settle: the balancer may still act on its last setting")


def test_the_view_says_what_happens_why_and_to_whom() -> None:
    text = [line.text for line in draw(picture(SETTLE), 100)]
    assert text[0].startswith("rollout 14")
    assert text[0].endswith("0:41")
    assert text[1].split() == ["✓", "prepare", "release", "to", "green-1", "0:10"]
    assert "shift" in text[2]
    assert text[2].endswith("0:31 of 1:00")
    assert text[3] == "    because    settle: the balancer may still act on its last setting"
    assert text[4] == "  · commit · bake 5:00, blue as backup · retire blue · finish"
    assert text[6] == "  blue  v1.0.0                     0 %  healthy 1/1  1 open"
    assert text[7] == "  green v1.1.0  ████████████████ 100 %  healthy 1/1  4 open"
    assert text[8] == "  public  640 requests, 0 failed"
    assert text[9] == "  Ctrl-C stops driving, not serving."


@pytest.mark.parametrize("width", [20, 40, 57, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert max(len(line.text) for line in draw(picture(SETTLE), width)) <= width


def test_at_40_columns_share_and_health_are_still_there() -> None:
    text = "\n".join(line.text for line in draw(picture(SETTLE), 40))
    assert "green v1.1.0  100 %  healthy 1/1" in text
    assert "0:31 of 1:00" in text


def test_a_sick_host_and_unknown_counts_are_said_in_words() -> None:
    world = observed()
    sick = msgspec.structs.replace(world, hosts={"green-1": host(GREEN, NEW, ok=False, connections=None)})
    blue, green = sides(sick, ROLLOUT)
    assert (green.healthy, green.open) == (0, None)
    assert (blue.healthy, blue.open) == (None, None)


def test_a_share_that_nobody_has_is_unknown_and_never_zero() -> None:
    assert {side.share for side in sides(observed(Mode.REJECT, Mode.REJECT), ROLLOUT)} == {None}
    assert "not seen" in stays(observed(Mode.REJECT, Mode.REJECT), ROLLOUT)


def test_what_stays_names_everyone_who_serves() -> None:
    split = msgspec.structs.replace(
        observed(), nodes={1: node(1, BLUE, Mode.ACCEPT, 75), 2: node(2, GREEN, Mode.ACCEPT, 25)}
    )
    assert stays(split, ROLLOUT) == "75 % on v1.0.0, 25 % on v1.1.0"


def test_text_from_hosts_cannot_move_the_cursor() -> None:
    hostile = Wait(None, "probe: \x1b[2J\r\n")
    assert all("\x1b" not in line.text and "\n" not in line.text for line in draw(picture(hostile), 100))


# -- off a terminal ------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def watched(output: Output, *decisions: Decision) -> Screen:
    screen = Screen(output, Machine())
    for at, decision in enumerate(decisions):
        screen(observed(), INTENT, decision, float(at))
    return screen


def test_off_a_terminal_there_is_a_line_an_event_and_none_a_look() -> None:
    err = io.StringIO()
    put = Act((SetNode(1, 80, BLUE.node_address, Mode.REJECT, 1, lowers=True),), "lower 192.168.130.11:5000 to reject")
    watched(Output(io.StringIO(), err, {}), SETTLE, SETTLE, put, SETTLE)
    assert len(err.getvalue().splitlines()) == 2
    assert "shift: lower 192.168.130.11:5000 to reject" in err.getvalue()


@pytest.mark.parametrize("machine", [False, True])
def test_what_failed_and_is_tried_again_is_told_when_it_fails(*, machine: bool) -> None:
    """Once, with its reason: a stop that is tried for minutes must not look like one long stop."""
    out, err = io.StringIO(), io.StringIO()
    output = Output(out, err, {})
    output.json = machine
    screen = Screen(output, Machine())
    key, error = f"Stop {BLUE.key}", "its supervisor did not end within 40 s"
    for count in (1, 1, 2, 2):  # the first had failed before this driver came
        seen = msgspec.structs.replace(observed(), journal=Journal(failures={key: (count, 7.0, error, False)}))
        screen(seen, INTENT, SETTLE, 9.0)
    if machine:
        (line,) = map(json.loads, out.getvalue().splitlines())
        assert line.keys() == {"at", "event", "because", "step", "data"}  # as of any other event of a drive
        assert (line["event"], line["step"], line["because"]) == ("action_failed", "probe", error)
        assert (line["data"]["action"], line["data"]["error"]) == (key, error)
        assert line["at"] > 1e9  # UTC, and not the driver's own clock
    else:
        assert err.getvalue().count(f"probe: failed: {key}: {error}\n") == 1


def test_a_failure_is_told_with_what_to_do() -> None:
    event = ActionFailed(action="Stop blue-1:5000", error="still runs", hint="on the host: kill -9 7")
    assert events.told(event) == "failed: Stop blue-1:5000: still runs (on the host: kill -9 7)"


def test_json_lines_hold_the_event_itself() -> None:
    (line,) = events_of(Act((Record(Committed()),), "all is confirmed"), Progress(now="commit"), at=5.0)
    assert line == {"at": 5.0, "event": "committed", "because": "all is confirmed", "step": "commit", "data": {}}


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colour_is_for_terminals_that_want_it(environ: dict[str, str], *, coloured: bool) -> None:
    err = Terminal()
    output = Output(io.StringIO(), err, environ)
    output.warn("careful")
    assert ("\x1b[" in err.getvalue()) is coloured
    assert "warning: careful" in err.getvalue()
    assert not output.coloured(output.stdout)


@pytest.mark.parametrize("change", ["json", "quiet", "dumb"])
def test_no_view_is_drawn_where_it_would_be_in_the_way(change: str) -> None:
    output = Output(io.StringIO(), Terminal(), {"TERM": "dumb"} if change == "dumb" else {})
    output.json, output.quiet = change == "json", change == "quiet"
    assert not output.live


# -- the end -------------------------------------------------------------------------------------


def ended(end: Finish | Halt | None, *events: Event, journal: Journal | None = None) -> Ending:
    known = journal or Journal(committed_at=1.0, sent=2310, served={OLD.id: 362, NEW.id: 1948})
    return Ending(intent=INTENT, end=end, journal=known, events=events, seconds=462.0)


def told(ending: Ending, **options: str) -> tuple[Result, str, str]:
    out, err = io.StringIO(), io.StringIO()
    result = endings.tell(Output(out, err, {}), ending, **options)  # type: ignore[arg-type]  # `stays` is text
    return result, out.getvalue(), err.getvalue()


def test_the_summary_is_the_contracts() -> None:
    lag = Noted(text="switched", data={"switch_lag_s": 4.2})
    result, out, err = told(ended(Finish("done", "the candidate serves"), lag))
    assert (result.exit, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["hello", "v1.1.0", "is", "live", "on", "green", "7:42"]
    assert lines[1] == "  requests    2,310, 0 failed (95 % sure: below 0.13 %) through http://myapp.example.com/"
    assert "v1.0.0 362" in lines[2]
    assert "v1.1.0 1,948" in lines[2]
    assert lines[3].startswith("  switch lag  4.2 s")
    assert lines[-1] == "  way back    celadon rollback (v1.0.0 is kept)"


def test_no_attribution_is_said_to_be_unproven() -> None:
    _, out, _ = told(ended(Finish("done", "x"), journal=Journal(committed_at=1.0, sent=5, unproven=5)))
    assert "served by   unproven" in out


def test_a_rollback_tells_reason_details_and_the_last_lines() -> None:
    tail = Returning(
        reason="x", detail=("GET / → connection refused", "| ModuleNotFoundError: No module named 'flask'")
    )
    end = Finish("rolled_back", "v1.1.0 did not become healthy on green-1")
    result, out, err = told(ended(end, tail, journal=Journal(sent=655)))
    assert (result.exit, result.result, out) == (3, "rolled_back", "")
    assert err.splitlines()[0] == "rolled back: v1.1.0 did not become healthy on green-1"
    assert "v1.0.0 kept all traffic: 655 requests, 0 failed" in err
    assert "ModuleNotFoundError" in err


def test_kept_all_traffic_is_only_said_when_it_is_true() -> None:
    asked = Asked(node=2, mode=Mode.ACCEPT, weight=1, port=80, address=GREEN.node_address)
    _, _, err = told(ended(Finish("rolled_back", "v1.1.0 failed"), asked))
    assert "v1.0.0 has all traffic again" in err
    assert "kept all traffic" not in err


@pytest.mark.parametrize(
    ("end", "wish", "code", "result"),
    [
        (Finish("done", "x"), "forward", 0, "done"),
        (Finish("committed", "x"), "forward", 0, "done"),
        (Finish("rolled_back", "x"), "forward", 3, "rolled_back"),
        (Finish("rolled_back", "x"), "back", 0, "rolled_back"),
        (Finish("failed", "x"), "forward", 3, "failed"),
        (Halt("x", "y", needs_person=True), "forward", 2, "unfinished"),
        (Halt("x", "y", needs_person=False), "forward", 4, "unfinished"),
        (None, "forward", 4, "unfinished"),
        (None, "back", 4, "unfinished"),
    ],
)
def test_the_exit_code_follows_from_the_end(
    end: Finish | Halt | None, wish: endings.Wish, code: int, result: str
) -> None:
    found = verdict(ended(end), wish)
    assert (found.exit, found.result) == (code, result)


def test_a_stopped_drive_says_what_stays_and_how_to_go_on() -> None:
    result, out, err = told(ended(None), stays="25 % on v1.1.0, 75 % on v1.0.0")
    assert (result.exit, result.next, out) == (4, ("celadon resume", "celadon abort"), "")
    assert err.splitlines() == [
        "Stopped driving. Rollout 14 stays as it is: 25 % on v1.1.0, 75 % on v1.0.0.",
        "  Nobody holds the lease; nothing moves until someone says so.",
        "hint: go on: celadon resume · go back: celadon abort",
    ]


# -- figures -------------------------------------------------------------------------------------


def test_figures() -> None:
    assert [clock(s) for s in (0, 3.4, 462, 3720)] == ["0:00", "0:03", "7:42", "1:02:00"]
    assert [age(s) for s in (4, 130, 8000)] == ["4 s", "2 min", "2 h"]
    assert [size(n) for n in (12, 8000, 84_000_000_000)] == ["12 B", "8 kB", "84 GB"]
    assert safe("a\x1b[2J\u202eb") == "a\\x1b[2J\\u202eb"
    assert table(("a", "b"), [("1", "22\n")]) == ["a  b", "1  22\\n"]


@pytest.mark.parametrize("share", [0.00129, 0.0001, 0.0999, 0.24, 1.0])
def test_a_bound_is_never_rounded_down(share: float) -> None:
    assert float(percent(share)) / 100 >= share - 1e-12
