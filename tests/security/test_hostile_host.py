"""Hosts that lie, flood, and write what is not theirs: nothing of it may run, write, hang or fill anything here.

Every case runs real `celadon` commands in a process of little memory, against a real SSH server that plays the part.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from tests.security import homes
from tests.security.corpus import ESCAPES, hostile, unsafe
from tests.security.hostile_api import NODE, js
from tests.security.hostile_host import AT_HOME, Answer, Part, Session, looked
from tests.security.scene import MIB, Scene, scene

from celadon.agent import wire
from celadon.core.intent import Intent
from celadon.core.strategy import blue_green

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

DEEP = b"[" * 200_000 + b"]" * 200_000
FLOOD = 64 << 20  # bytes; a link of 10 MB/s brings as many in the 6 s that a look may take


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with scene(tmp_path_factory.mktemp("hostile")) as found:
        yield found


async def test_an_honest_one_is_believed(stage: Scene) -> None:
    """Else every refusal below would say nothing."""
    stage.reset()
    told = await stage.deployer.run("status", "--json")
    stage.unharmed(told, "honest")
    assert told.exit == 0
    assert told.end["unseen"] == {}
    assert told.end["live_colour"] == "blue"
    stage.host.answers = {"look": _look(replica=RUNS), "logs": _lines(['[1.0,"a line"]'])}
    told = await stage.deployer.run("logs", "--colour", "blue")
    assert (told.exit, told.out) == (0, "1970-01-01T00:00:01.000+00:00  a line\n")


# -- the session: no agent at all, or one that floods -------------------------------------------------


def sends(*pieces: bytes) -> Part:
    async def part(session: Session) -> None:
        for piece in pieces:
            await session.send(piece)

    return part


def floods(piece: bytes, *, greets: bool = True) -> Part:
    async def part(session: Session) -> None:
        if greets:
            await session.greet()
        for _ in range(FLOOD // len(piece)):
            await session.send(piece)
            await asyncio.sleep(0)  # this end, too, must see that the other has left

    return part


def greets_with(payload: bytes) -> Part:
    return sends(wire.MARKER, wire.HEADER.pack(wire.REPLY, 0, len(payload)) + payload)


def framed(kind: int, request: int, payload: bytes = b"", times: int = 1) -> bytes:
    return (wire.HEADER.pack(kind, request, len(payload)) + payload) * times


def greeting(**changes: Any) -> bytes:
    honest = {"protocol": wire.PROTOCOL, "python": "3", "hostname": "h", "euid": 0}
    return json.dumps({"ok": honest | changes}).encode()


SESSIONS: dict[str, Part] = {
    "says nothing and leaves": sends(),
    "text without end": floods(b"Welcome! " * 10_000, greets=False),
    "almost the marker, again and again": floods(wire.MARKER[:-1] * 1000, greets=False),
    "no python, and its versions without end": sends(wire.NO_PYTHON, b"\nPython 3.1\x1b[2J" * 3000),
    "a greeting nested deeply": greets_with(b'{"ok":' + DEEP + b"}"),
    "a greeting of brackets": greets_with(DEEP),
    "a greeting that is not UTF-8": greets_with(b'{"ok":{"protocol":1,"python":"\xff\xfe"}}'),
    "a greeting of wrong types": greets_with(greeting(protocol="1", python=[])),
    "a greeting of four megabytes": greets_with(greeting(python="x" * (wire.MAX_JSON - 200))),
    "another protocol": greets_with(greeting(protocol=99)),
    "a frame of four gigabytes": sends(wire.MARKER, wire.HEADER.pack(wire.REPLY, 0, 0xFFFFFFFF)),
    "a frame of no known kind": sends(wire.MARKER, b"\xff" * 64),
    "a length that is a lie": sends(wire.MARKER, wire.HEADER.pack(wire.REPLY, 0, 5000), b"{}"),
    "a flood of pongs": floods(framed(wire.PONG, 0, times=1000)),
    "a flood of credit": floods(framed(wire.CREDIT, 1, b"\xff" * 4, times=1000)),
    "a flood of data that nobody asked for": floods(framed(wire.CHUNK, 1, b"\x01" + b"x" * wire.MAX_CHUNK)),
    "a flood of data without data": floods(framed(wire.CHUNK, 1, b"\x01", times=1000)),
    "a flood of answers to others": floods(framed(wire.REPLY, 77, b"x" * 100_000)),
    "requests to the deployer": floods(framed(wire.REQUEST, 1, b'{"op":"run","args":{}}', times=1000)),
}


@pytest.mark.parametrize("name", SESSIONS)
async def test_a_session_that_is_none(stage: Scene, name: str) -> None:
    stage.reset()
    stage.host.part = SESSIONS[name]
    told = await stage.deployer.run("check")
    stage.unharmed(told, name)
    assert told.exit == 2, "check passed a host that is none"
    assert not unsafe(told.out + told.err)
    assert len(told.out) < 20_000


# -- answers -------------------------------------------------------------------------------------------

REPLIES: dict[str, bytes] = {
    "deep": b'{"ok":' + DEEP + b"}",
    "deep where nobody looks": b'{"z":' + DEEP + b',"ok":null}',
    "not json": b"<html>",
    "empty": b"",
    "null": b"null",
    "another type": b'{"ok":{"slots":{"a":1}}}',
    "numbers": b'{"ok":' + b"9" * 4000 + b"}",
    "more digits than anybody prints": b'{"ok":' + b"9" * 100_000 + b"}",
    "infinity": b'{"ok":1e999}',
    "not UTF-8": b'{"ok":"\xff"}',
    "half a surrogate": b'{"ok":"\\ud800 x"}',
    "four megabytes of brackets": b'{"ok":' + b"[]," * 1_000_000 + b"1}",
    "four megabytes of text": b'{"ok":"' + b"x" * (wire.MAX_JSON - 100) + b'"}',
    "four megabytes of empty texts": b'{"ok":[' + b'"",' * 1_300_000 + b'""]}',
    "a kind of error that is none": b'{"error":{"kind":"\\u001b[2J","message":"m"}}',
    "a lost lease": b'{"error":{"kind":"lease_lost","message":"\\u001b[2J"}}',
    "an endless error": b'{"error":{"kind":"refused","message":"' + b"x" * 3_000_000 + b'"}}',
    "endless details": b'{"error":{"kind":"refused","message":"m","details":[' + b'"a",' * 500_000 + b'"a"]}}',
}
READS = ("look", "read_document", "read_journal", "rollouts", "home_facts", "releases")


@pytest.mark.parametrize("name", REPLIES)
async def test_an_answer_that_makes_no_sense(stage: Scene, name: str) -> None:
    """To every question that these verbs ask."""
    stage.reset()
    for op in READS:
        stage.host.raw(op, REPLIES[name])
    for verb in ("status", "check", "history", "abort"):
        told = await stage.deployer.run(verb)
        stage.unharmed(told, f"{verb}: {name}")
        assert not unsafe(told.out + told.err)
        assert len(told.out + told.err) < 200_000


async def test_a_hint_of_a_host_is_no_command_for_machines(stage: Scene) -> None:
    stage.reset()
    evil = {"kind": "refused", "message": "m", "hint": "celadon exec --all -- sh -c evil"}
    stage.host.raw("read_document", json.dumps({"error": evil}).encode())
    told = await stage.deployer.run("abort", "--json")
    assert told.exit == 2
    assert told.end["next"] == []
    assert "evil" not in told.out
    stage.host.answers = {"look": _look(foreign="nginx", remedy="celadon exec -- evil\nceladon abort")}
    told = await stage.deployer.run("check", "--json")
    assert "evil" not in json.dumps(told.end.get("next"))


def _look(**slot: Any) -> Answer:
    async def told(session: Session, request: int, args: dict[str, Any]) -> None:
        await session.reply(request, {"ok": looked(args, **slot)})

    return told


@pytest.mark.parametrize("name", [*hostile(Path("/x"))])
async def test_hostile_words_in_every_answer(stage: Scene, name: str) -> None:
    """Whatever a host may say in its own words, said in the words of the corpus, and shown by every verb."""
    stage.reset()
    text = hostile(stage.canary)[name]
    short = text[:100_000]
    replica = {"release": short, "id": short, "running": True, "restarts": 0, "exit_code": 1, "colour": short}
    probe = {"ok": False, "status": None, "error": text, "seconds": 0.1}
    facts = _look(replica=replica, foreign=short, probe=probe, remedy=short)
    intent = Intent(rollout=homes.rollout(opened_by=short, app=short, balancer=short), finished=short)
    lease = {"holder": short, "fence": 1, "counter": 1, "since_utc": 1e9}
    events = [
        {"type": "Opened", "rollout": msgspec.json.decode(msgspec.json.encode(intent.rollout))},
        {"type": "Driving", "who": short, "fence": 1},
        {"type": "Noted", "text": short, "data": {short: short}},
        {"type": "ActionFailed", "action": short, "error": short, "final": True, "hint": short},
        {"type": "Asked", "node": 1, "mode": "accept", "weight": 1, "address": short},
        {"type": "Returning", "reason": short, "detail": [short], "asked_by": short},
        {"type": "Finished", "result": "rolled_back", "reason": short},
    ]
    stage.host.says(
        rollouts=[7], read_journal={"events": [json.dumps(event) for event in events], "more": False}, tail=[short] * 9
    )
    stage.host.answers["look"] = facts
    stage.host.documents = {"intent": homes.document(intent), "lease": json.dumps(lease), "key": short}
    stage.host.answers["logs"] = _lines([json.dumps([1.0, text]), json.dumps([None, text])])
    for words in (
        ["status"], ["check"], ["history"], ["history", "7"], ["logs", "--colour", "blue"], ["abort"],
        ["status", "--wait", "1s"], ["status", "--json"], ["history", "7", "--json"],
        ["logs", "--colour", "blue", "--json"],
    ):  # fmt: skip
        told = await stage.deployer.run(*words)
        stage.unharmed(told, f"{words}: {name}")
        assert not unsafe(told.out + told.err), words


async def test_hostile_words_in_the_certificate_are_text(stage: Scene) -> None:
    stage.reset()
    script = "<script>alert(1)</script><img src=http://evil.invalid/x onerror=x>" + ESCAPES
    told = homes.rollout(opened_by=script)
    events = [
        {"type": "Opened", "rollout": msgspec.json.decode(msgspec.json.encode(told))},
        {"type": "Noted", "text": script},
        {"type": "Finished", "result": "done", "reason": script},
    ]
    stage.host.says(read_journal={"events": [json.dumps(event) for event in events], "more": False})
    page = stage.folder / "page.html"
    assert (await stage.deployer.run("history", "7", "--html", str(page))).exit == 0
    text = page.read_text()
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>alert" not in text
    assert "<img src=http" not in text


def _lines(lines: list[str]) -> Answer:
    async def told(session: Session, request: int, args: dict[str, Any]) -> None:
        data = "".join(line + "\n" for line in lines).encode()
        for start in range(0, len(data), wire.MAX_CHUNK):
            await session.frame(wire.CHUNK, request, b"\x01" + data[start : start + wire.MAX_CHUNK])
        await session.reply(request, {"ok": None})

    return told


# -- streams -------------------------------------------------------------------------------------------


def _streams(piece: bytes, times: int) -> Answer:
    """As an honest agent would send it: as much as is granted, and the next when that was taken."""

    async def told(session: Session, request: int, args: dict[str, Any]) -> None:
        for _ in range(times):
            await session.frame(wire.CHUNK, request, b"\x01" + piece)
            await asyncio.sleep(0)
        session.leave()

    return told


RUNS = {"release": "abcd", "id": "1", "running": True, "restarts": 0, "exit_code": None}
LOGS: dict[str, Answer] = {
    "a line without end": _streams(b"x" * wire.MAX_CHUNK, 40),
    "a line without end, a byte at a time": _streams(b"x", 5_000),
    "not a line of ours": _lines(["{}"]),
    "a line nested deeply": _lines([DEEP.decode()]),
    "a moment that no calendar has": _lines(['[1e300,"x"]']),
    "a moment before all calendars": _lines(['[-1e300,"x"]']),
    "more than was granted": _streams(b"x\n" * (wire.MAX_CHUNK // 2), 1000),
}


@pytest.mark.parametrize("name", LOGS)
async def test_log_streams(stage: Scene, name: str) -> None:
    stage.reset()
    stage.host.answers = {"look": _look(replica=RUNS), "logs": LOGS[name]}
    told = await stage.deployer.run("logs", "--colour", "blue", within=90)
    stage.unharmed(told, name)
    assert told.exit == 4
    assert not unsafe(told.out + told.err)


@pytest.mark.parametrize(
    "code", ["9" * 3000, "256", "-1e300", '"0"', "null", "-999999999999"], ids=lambda code: code[:8]
)
async def test_an_exit_code_that_is_none(stage: Scene, code: str) -> None:
    stage.reset()
    stage.host.answers["look"] = _look(replica=RUNS)
    stage.host.raw("run", b'{"ok":{"exit":' + code.encode() + b"}}")
    told = await stage.deployer.run("exec", "--host", f"127.0.0.1-{stage.host.port}", "--json", "--", "true")
    stage.unharmed(told, code)
    assert told.exit == 4


async def test_output_without_end_is_kept_up_to_a_bound(stage: Scene) -> None:
    stage.reset()

    async def told(session: Session, request: int, args: dict[str, Any]) -> None:
        for _ in range(wire.WINDOW // wire.MAX_CHUNK):
            await session.frame(wire.CHUNK, request, b"\x01" + b"x" * wire.MAX_CHUNK)
        for _ in range(50):  # each piece that was taken makes room for one more
            await session.frame(wire.CHUNK, request, b"\x02" + b"y" * 1000)
            await asyncio.sleep(0.002)
        await session.reply(request, {"ok": {"exit": 0}})

    stage.host.answers = {"look": _look(replica=RUNS), "run": told}
    ran = await stage.deployer.run("exec", "--host", f"127.0.0.1-{stage.host.port}", "--json", "--", "true")
    stage.unharmed(ran, "output")


# -- the home ------------------------------------------------------------------------------------------

OPEN = Intent(rollout=homes.rollout())
NO_INTENT: dict[str, str] = {
    "brackets": DEEP.decode(),
    "a list": "[]",
    "another shape": '{"rollout":{}}',
    "a rate of nothing": homes.edited(OPEN, "rollout", "verify", "rate", to=0),
    "a rate of everything": homes.edited(OPEN, "rollout", "verify", "rate", to=1e12),
    "no pause between looks": homes.edited(OPEN, "rollout", "timing", "interval", to=0),
    "a pause before now": homes.edited(OPEN, "rollout", "timing", "poll", to=-5),
    "a number below all": homes.edited(OPEN, "rollout", "number", to=-1),
    "a day in no calendar": homes.edited(OPEN, "rollout", "opened_utc", to=1e300),
    "a step of no kind": homes.edited(OPEN, "rollout", "steps", to=[{"type": "Exec", "command": "x"}]),
}


@pytest.mark.parametrize("name", NO_INTENT)
async def test_an_intent_that_is_none(stage: Scene, name: str) -> None:
    stage.reset()
    stage.host.documents["intent"] = NO_INTENT[name]
    for verb in ("status", "check", "resume", "abort", "promote", "pause"):
        told = await stage.deployer.run(verb)
        stage.unharmed(told, f"{verb}: {name}")
        assert "makes no sense" in told.out + told.err
        if verb not in ("status", "check"):
            assert told.exit == 2
        assert not [op for op, _ in stage.host.asked if op in ("start", "stop", "put_artifact", "put_settings")]


@pytest.mark.parametrize(
    "lease", ["[]", DEEP.decode(), '{"holder":"x"}', '{"holder":"x","fence":-1,"counter":0,"since_utc":0}']
)
async def test_a_lease_that_is_none(stage: Scene, lease: str) -> None:
    stage.reset()
    stage.host.documents = {"lease": lease, "intent": homes.document(OPEN)}
    for verb in ("status", "check", "resume"):
        told = await stage.deployer.run(verb)
        stage.unharmed(told, f"{verb}: {lease[:40]}")
    assert told.exit == 2
    assert "the lease that the home keeps makes no sense" in told.err


HOMES: dict[str, dict[str, Any]] = {
    "that is elsewhere, by a command": {"state": "moved", "seat": {"epoch": 9, "home": "x · celadon exec -- evil"}},
    "that is in a folder above": {"state": "moved", "seat": {"epoch": 9, "home": "../../x"}},
    "of an epoch that nobody counts": {"seat": {"epoch": 10**300}},
    "that leads round and round": {"state": "moved", "seat": {"epoch": 9, "home": "127.0.0.2"}},
    "in no state": {"state": "\x1b[2J"},
    "behind a fence that nobody reaches": {"fence": 2**53},
}


@pytest.mark.parametrize("name", HOMES)
async def test_a_home(stage: Scene, name: str) -> None:
    stage.reset()
    stage.host.says(home_facts=AT_HOME | HOMES[name])
    for words in (["status"], ["history"], ["resume", "--json"], ["store", "adopt"]):
        told = await stage.deployer.run(*words)
        stage.unharmed(told, f"{words}: {name}")
        assert not unsafe(told.out + told.err)
        assert "exec -- evil" not in json.dumps(told.end.get("next")) if "--json" in words else True


async def test_a_key_that_is_none(stage: Scene) -> None:
    stage.reset()
    stage.host.documents = {"key": "not hexadecimal", "intent": homes.document(OPEN)}
    stage.unharmed(await stage.deployer.run("resume"), "key")


EVENTS: dict[str, list[str]] = {
    "brackets": [DEEP.decode()],
    "of no kind": ['{"type":"Exec","command":"x"}'],
    "a date in no calendar": ['{"type":"Committed","at":1e300}'],
    "a rollout that is none": ['{"type":"Opened","rollout":{"number":7}}'],
    "a count that nobody can print": ['{"type":"Stopped","slot":"s","release":"r","cut":' + "9" * 4000 + "}"] * 2,
    "a stop that cut less than nothing": ['{"type":"Stopped","slot":"s","release":"r","cut":-5}'],
    "not an object": ["7"],
    "an empty line": [""],
}  # fmt: skip


@pytest.mark.parametrize("name", EVENTS)
async def test_a_journal_that_is_none(stage: Scene, name: str) -> None:
    stage.reset()
    stage.host.documents["intent"] = homes.document(OPEN)
    stage.host.says(rollouts=[7], read_journal={"events": EVENTS[name], "more": False})
    for words in (["history"], ["history", "7"], ["status"], ["resume"]):
        told = await stage.deployer.run(*words)
        stage.unharmed(told, f"{words}: {name}")
        assert "makes no sense" in told.err or words[0] != "history"


async def test_a_journal_without_end_is_given_up(stage: Scene) -> None:
    stage.reset()
    stage.host.says(rollouts=[7])
    stage.host.says(read_journal={"events": ['{"type":"Committed"}'] * 20_000, "more": True})
    told = await stage.deployer.run("history", "7")
    stage.unharmed(told, "a journal without end")
    assert told.exit == 4
    assert "the journal of rollout 7 has more than" in told.err


async def test_rollouts_without_end_are_not_all_read(stage: Scene) -> None:
    stage.reset()
    opened = {"type": "Opened", "rollout": msgspec.json.decode(msgspec.json.encode(homes.rollout()))}
    stage.host.says(
        rollouts=list(range(100_000)),
        read_journal={"events": [json.dumps(opened), *['{"type":"Committed"}'] * 5000], "more": False},
    )
    told = await stage.deployer.run("history", within=120)
    stage.unharmed(told, "rollouts", most=2 * MIB)
    assert told.exit == 0


@pytest.mark.parametrize("kind", ["tests", "hooks"])
async def test_a_home_cannot_run_a_command_here(stage: Scene, kind: str) -> None:
    """The rollout says to run something. This operator's config does not, so it is not run."""
    stage.reset()
    name = "smoke" if kind == "tests" else "before_prepare"
    names = [f"{address}-{stage.host.port}" for address in ("127.0.0.1", "127.0.0.2")]
    rollout = homes.rollout(
        **{kind: (homes.hook(name, "/usr/bin/touch", str(stage.canary)),)},
        steps=blue_green((name,) if kind == "tests" else (), hold=False),
        slots={
            colour: tuple(msgspec.structs.replace(slot, host=host) for slot in its)
            for (colour, its), host in zip(homes.rollout().slots.items(), names, strict=True)
        },
    )
    stage.host.documents["intent"] = homes.document(Intent(rollout=rollout))
    journal: list[str] = []

    async def read(session: Session, request: int, args: dict[str, Any]) -> None:
        await session.reply(request, {"ok": {"events": journal[args["start"] :], "more": False}})

    async def append(session: Session, request: int, args: dict[str, Any]) -> None:
        journal.extend(args["events"][len(journal) - args["start"] :])
        await session.reply(request, {"ok": None})

    id_ = rollout.candidate.id
    running = {"release": id_, "id": "1", "running": True, "restarts": 0, "exit_code": None, "colour": "green"}
    well = {"ok": True, "status": 200, "error": "", "seconds": 0.01}

    async def look(session: Session, request: int, args: dict[str, Any]) -> None:
        facts = looked(args, replica=running, probe=well, listening=True)
        facts |= {"settings": [id_], "artifacts": [rollout.candidate.artifact]}
        await session.reply(request, {"ok": facts})

    green = NODE | {"id": 101, "label": "green-1", "address": "192.168.130.21:5000", "mode": "reject"}
    stage.api.answers["/nodes"] = js({"data": [NODE, green], "pages": 1})
    stage.host.answers |= {"read_journal": read, "append": append, "look": look}
    told = await stage.deployer.run("resume", within=60)
    stage.unharmed(told, "a home with hooks")
    started = [event for event in journal if '"CommandStarted"' in event]
    finished = [event for event in journal if '"CommandFinished"' in event]
    assert started, journal
    assert "celadon.toml here does not have it" in finished[0]
