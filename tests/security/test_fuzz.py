"""Anything at all, where another machine or another person's file is read: a value of ours, or one of our errors.

Bounded for CI (some 20 s in total). The config's own fuzzing is in `tests/config/test_load.py`, that of the deployer's
end of the frames also in `tests/agent/test_link.py`.
"""

import io
import json
import struct
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.security import homes

from celadon.adapters import known_hosts
from celadon.adapters.http import quoted
from celadon.adapters.linode_http import LinodeHttp
from celadon.adapters.linode_scopes import parse_scopes, scope_refusal
from celadon.adapters.linode_wire import Config, Instance, Listeners, Node, NodeBalancer, Page, decode_address
from celadon.adapters.oci_registry import Challenge
from celadon.agent import wire
from celadon.agent.errors import AgentError
from celadon.agent.main import Agent
from celadon.cli import events as lines
from celadon.cli import evidence
from celadon.cli.certificate import page
from celadon.cli.figures import safe
from celadon.core import foreign
from celadon.core.certificate import certify
from celadon.core.errors import CeladonError, Refused
from celadon.core.intent import Intent
from celadon.core.journal import EMPTY, Event, fold
from celadon.core.secret import Secret
from celadon.drive.app import Past
from celadon.drive.driver import decode_intent
from celadon.drive.lease import decode as decode_lease
from celadon.drive.log import decode_events

FEW = settings(max_examples=80, deadline=None, suppress_health_check=[*HealthCheck])

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
BYTES = st.binary(max_size=80) | JSON.map(lambda value: json.dumps(value).encode())


# -- the agent's end of the frames -----------------------------------------------------------------------


def echo(args: dict[str, Any], channel: Any) -> Any:
    return args


def one_line(args: dict[str, Any], channel: Any) -> Any:
    channel.write(wire.STDOUT, b"line\n")
    return channel.read().decode("latin-1")


FRAME = st.tuples(st.integers(0, 10), st.integers(0, 4), BYTES).map(
    lambda frame: struct.pack("!BII", frame[0], frame[1], len(frame[2])) + frame[2]
)
REQUEST = st.tuples(st.sampled_from(["echo", "one_line", "no such"]), JSON).map(
    lambda asked: wire.frame(wire.REQUEST, 1, json.dumps({"op": asked[0], "args": asked[1]}).encode())
)


@FEW
@given(st.lists(FRAME | REQUEST | st.binary(max_size=30), max_size=12))
def test_the_agent_answers_or_leaves(pieces: list[bytes]) -> None:
    """A deployer that talks nonsense gets answers in frames, and no traceback; the end of input is the end."""
    sink = io.BytesIO()
    agent = Agent(io.BytesIO(b"".join(pieces)), sink, {"echo": echo, "one_line": one_line})
    try:
        agent.serve()
    except wire.BadFrame:
        return
    said = io.BytesIO(sink.getvalue())
    while (frame := wire.read_frame(said)) is not None:
        kind, _, payload = frame
        assert kind in (wire.REPLY, wire.CHUNK, wire.CREDIT, wire.PONG)
        if kind == wire.REPLY:
            assert json.loads(payload).keys() <= {"ok", "error"}


def test_a_request_that_is_in_work_is_not_asked_again() -> None:
    """Its first answer would end both. `one_line` waits for input that does not come."""
    asked = wire.frame(wire.REQUEST, 1, json.dumps({"op": "one_line", "args": {}}).encode())
    agent = Agent(io.BytesIO(asked * 2), io.BytesIO(), {"one_line": one_line})
    with pytest.raises(wire.BadFrame, match="request 1 is in work already"):
        agent.serve()


@FEW
@given(st.binary(max_size=60))
def test_frames_are_read_whole_or_not_at_all(data: bytes) -> None:
    source = io.BytesIO(data)
    try:
        while (frame := wire.read_frame(source)) is not None:
            assert len(frame[2]) <= wire.limit(frame[0])
    except wire.BadFrame:
        return


@FEW
@given(JSON)
def test_names_that_the_agent_takes_are_names(value: Any) -> None:
    from celadon.agent import paths  # noqa: PLC0415 - beside its only use

    for check in (paths.app_name, paths.release_id, paths.host_name):
        try:
            name = check(value)
        except AgentError:
            continue
        assert "/" not in name
        assert name not in {".", ".."}
        assert not name.startswith("-")


# -- what the home keeps ------------------------------------------------------------------------------------

INTENT: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(Intent(rollout=homes.rollout())))


def ways(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [way for key, value in pairs for way in [(*path, key), *ways(value, (*path, key))]]


@FEW
@given(st.sampled_from(ways(INTENT)), JSON)
def test_an_intent_is_one_or_is_refused(path: tuple[Any, ...], value: Any) -> None:
    """A real one with one thing changed: far more of these are nearly right than of random bytes."""
    raw = homes.edited(msgspec.convert(INTENT, Intent), *path, to=value).encode()
    try:
        intent = decode_intent(raw)
    except Refused:
        return
    assert intent is not None
    assert 0 < intent.rollout.verify.rate <= 1000
    assert intent.rollout.timing.interval > 0


@FEW
@given(BYTES)
def test_whatever_the_home_keeps(raw: bytes) -> None:
    for decode in (decode_intent, decode_lease, lambda data: decode_events([data])):
        with suppress(Refused):
            decode(raw)


KINDS = st.sampled_from([kind.__name__ for kind in get_args(Event)])
FIELDS = ["at", "who", "fence", "node", "mode", "weight", "slot", "replica", "kind", "name", "ok", "index", "reason",
          "release", "cut", "host", "paused", "action", "error", "text", "data", "sent", "failed", "served", "result",
          "failed_on_candidate", "asked_by", "detail", "waited", "address"]  # fmt: skip
WORDS = st.sampled_from(["accept", "done", "test"])
EVENT = st.tuples(KINDS, st.dictionaries(st.sampled_from(FIELDS), JSON | WORDS, max_size=8))


@FEW
@given(st.lists(EVENT, max_size=4))
def test_a_journal_that_can_be_read_can_be_folded_and_told(events: list[tuple[str, dict[str, Any]]]) -> None:
    raw = [json.dumps({"type": kind, **fields}).encode() for kind, fields in events]
    try:
        found = decode_events(raw)
    except Refused:
        return
    past = Past(rollout=homes.rollout(), journal=fold(EMPTY, found, offset=0.0, now=1e9), events=tuple(found))
    for line in evidence.lines(past):
        assert safe(line).isprintable()
    assert "<script" not in page.html(certify(past.rollout, past.events), past.events)
    for event in found:
        json.dumps(lines.as_line(event), default=msgspec.to_builtins)


@FEW
@given(st.floats(allow_nan=False))
def test_a_moment_that_is_read_can_be_shown(utc: float) -> None:
    try:
        moment = foreign.read(json.dumps(utc if abs(utc) != float("inf") else 1e308).encode(), foreign.Utc)
    except foreign.Senseless:
        return
    assert datetime.fromtimestamp(moment, UTC).isoformat()


# -- the API -------------------------------------------------------------------------------------------------


@FEW
@given(BYTES, st.sampled_from([Page[Instance], Page[Node], Page[Config], NodeBalancer, Node, Listeners]))
def test_an_answer_of_the_api(raw: bytes, kind: Any) -> None:
    """The errors that `LinodeHttp` translates are all there are."""
    try:
        msgspec.json.decode(raw, type=kind, dec_hook=decode_address)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return


@FEW
@given(st.text(max_size=60))
def test_headers_and_urls_of_the_api(text: str) -> None:
    scopes = parse_scopes(text)
    if scopes is not None:
        refusal = scope_refusal(scopes)
        assert refusal is None or refusal.details
    Challenge.parse(text)
    assert quoted(text).isprintable()
    for url in (text, f"https://{text}", f"http://localhost:{text}"):
        try:
            assert LinodeHttp(url, Secret("t")).url.startswith("http")
        except Refused:
            continue


# -- host keys -------------------------------------------------------------------------------------------------

LINE = st.text(max_size=40) | st.tuples(
    st.text(max_size=10), st.sampled_from(["ssh-ed25519", "ssh-rsa", "@revoked", "|1|a|b"]), st.text(max_size=30)
).map(" ".join)


@FEW
@given(st.lists(LINE.map(lambda line: line.encode("utf-8", "replace")) | st.binary(max_size=30), max_size=4))
def test_host_keys_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: list[bytes]) -> None:
    path = _folder(tmp_path_factory) / "known_hosts"
    path.write_bytes(b"\n".join(content))
    known_hosts.read_all(Path("/nowhere/known_hosts"), [path])  # the user's own: never a reason to stop
    for line in known_hosts.KnownHosts(path).text().splitlines():
        try:
            known_hosts.fingerprint_of_line(line)
        except CeladonError:
            continue
    with suppress(Refused):
        known_hosts.read_all(path, [])
    known_hosts.KnownHosts(path).trust("host ssh-ed25519 AAAA")
    assert "host ssh-ed25519 AAAA" in known_hosts.KnownHosts(path).text()


_FOLDERS: list[Path] = []


def _folder(factory: pytest.TempPathFactory) -> Path:
    if not _FOLDERS:
        _FOLDERS.append(factory.mktemp("keys"))
    return _FOLDERS[0]
