"""The whole agent as it is sent, under each Python: greeting, operations, and the end."""

import asyncio
import hashlib
import io
import socket
import tarfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from celadon.adapters import agent_bundle
from celadon.adapters.agent_link import AgentLink, Call, Heartbeat
from celadon.agent import wire
from celadon.core.errors import Bug, LeaseLost, Refused, Unavailable

from .conftest import LocalAgent

pytestmark = pytest.mark.slow  # agents and replicas as processes, under three Pythons

RELEASE = "0123456789"
SERVER = b"""
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ["COLOUR"].encode())
http.server.HTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"""


def archive() -> tuple[str, bytes]:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo("serve.py")
        member.size = len(SERVER)
        tar.addfile(member, io.BytesIO(SERVER))
    return "sha256:" + hashlib.sha256(out.getvalue()).hexdigest(), out.getvalue()


async def once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def effect(op: str, args: dict[str, Any], answer: Any = None, body: AsyncIterator[bytes] | None = None) -> Call:
    return Call(op, {"host": "here", "app": "shop", "fence": 1, **args}, answer, 120, body)


async def look(link: AgentLink, slot: dict[str, Any], release: str) -> dict[str, Any]:
    question = {"slot": slot, "release": release, "probe": True, "count": True}
    how = {"path": "/", "host_header": "here", "https": False, "timeout": 5.0}
    call = Call("look", {"app": "shop", "slots": [question], "probe": how}, dict[str, Any], 30)
    found: dict[str, Any] = await link.ask(call)
    return found


async def test_a_release_lives_and_ends_under_this_python(agent: LocalAgent) -> None:
    digest, data = archive()
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        slot = {"host": "here", "address": "127.0.0.1", "port": door.getsockname()[1]}
    release = {
        "id": RELEASE,
        "app": "shop",
        "version": "v1",
        "artifact": digest,
        "runtime": "venv",
        "command": ["python", "serve.py", "{host}", "{port}"],
        "stop_timeout": 5.0,
    }
    async with agent.link() as link:
        assert link.greeting.protocol == wire.PROTOCOL
        await link.ask(effect("put_settings", {"release": release, "values": {"COLOUR": "red\nblue"}}))
        assert await link.ask(effect("put_artifact", {"release": release}, int, once(data))) == len(data)
        placement = {"release": release, "slot": slot, "colour": "blue", "rollout": 1}
        await link.ask(effect("start", {"placement": placement}))
        async with asyncio.timeout(60):
            while True:
                probe = (await look(link, slot, RELEASE))["slots"][0]["probe"]
                if probe and probe["ok"]:
                    break
                await asyncio.sleep(0.05)
    async with agent.link() as link:
        seen = (await look(link, slot, RELEASE))["slots"][0]
        assert (seen["replica"]["running"], seen["foreign"], seen["open"]) == (True, None, 0)
        stop = {"release": RELEASE, "slot": slot, "grace": 5.0}
        assert await link.ask(effect("stop", stop, int)) == 0
        assert not (await look(link, slot, RELEASE))["slots"][0]["listening"]


async def test_the_store_keeps_its_word_under_this_python(agent: LocalAgent) -> None:
    async with agent.link() as link:
        document = {"app": "shop", "name": "lease", "old": None, "new": '{"n":"\u00e9"}'}
        assert await link.ask(Call("swap_document", document, bool)) is True
        assert await link.ask(Call("swap_document", document, bool)) is False
        events = {"app": "shop", "rollout": 1, "start": 0, "events": ["{}"], "fence": 3}
        await link.ask(Call("append", events))
        with pytest.raises(LeaseLost):
            await link.ask(Call("append", {**events, "start": 1, "fence": 2}))


async def test_what_it_does_not_know_is_our_bug(agent: LocalAgent) -> None:
    async with agent.link() as link:
        with pytest.raises(Bug, match="no operation"):
            await link.ask(Call("format_disk", {}))
        with pytest.raises(Bug, match="KeyError"):
            await link.ask(Call("look", {}))
        with pytest.raises(Refused, match="app"):
            await link.ask(Call("rollouts", {"app": "../../etc"}, list[int]))


async def test_garbage_ends_it(agent: LocalAgent) -> None:
    for garbage in (b"\xff" * 200, wire.HEADER.pack(wire.REQUEST, 1, wire.MAX_JSON + 1), b"", b"\x01"):
        process = await agent.process()
        async with asyncio.timeout(30):
            await process.communicate(agent_bundle.bundle() + garbage)


async def test_a_deployer_that_was_stopped_does_not_blame_the_host(agent: LocalAgent) -> None:
    async with agent.link(Heartbeat(every=0.2, silence=1.0)) as link:
        time.sleep(2.0)  # noqa: ASYNC251 - the loop itself stands still, as under SIGSTOP
        await asyncio.sleep(0.3)
        assert link.lost is None
        assert await link.ask(Call("rollouts", {"app": "shop"}, list[int])) == []


@pytest.fixture
def bare(tmp_path: Path) -> LocalAgent:
    """A host with a PATH that holds what the test puts there, and a shell's own tools nowhere."""
    (tmp_path / "bin").mkdir()
    made = LocalAgent(tmp_path, tmp_path / "bin")
    made.environment["PATH"] = str(tmp_path / "bin")
    return made


async def test_a_host_without_python_is_refused(bare: LocalAgent) -> None:
    with pytest.raises(Refused, match=r"here: the host needs Python 3\.9 or later and has no python3"):
        async with bare.link():
            pass


async def test_a_host_with_an_old_python_is_refused_with_its_version(bare: LocalAgent, tmp_path: Path) -> None:
    old = tmp_path / "bin/python3"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo Python 3.6.8 && exit\nexit 97\n')
    old.chmod(0o755)
    with pytest.raises(Refused, match=r"needs Python 3\.9 or later and has Python 3\.6\.8") as caught:
        async with bare.link():
            pass
    assert caught.value.hint


async def test_what_a_login_shell_prints_is_passed_over(tmp_path: Path) -> None:
    class Noisy(asyncio.StreamReader):
        pass

    reader = Noisy()
    greeting = b'{"ok":{"protocol":%d,"python":"3","hostname":"h","euid":0}}' % wire.PROTOCOL
    reader.feed_data(b"Welcome!\nLast login: today\n" + wire.MARKER + wire.frame(wire.REPLY, 0, greeting))
    link = await AgentLink.open("here", reader, Sink(), b"")
    assert link.greeting.hostname == "h"
    await link.close()


class Sink:
    """Takes everything."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    async def drain(self) -> None:
        await asyncio.sleep(0)


@pytest.mark.parametrize("answer", [b"", b"no agent here\n", b"y" * 70_000, wire.MARKER + b"\x07" * 9])
async def test_a_host_that_does_not_answer_as_an_agent_is_unavailable(answer: bytes) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(answer)
    reader.feed_eof()
    with pytest.raises(Unavailable, match="here: the agent did not start"):
        await AgentLink.open("here", reader, Sink(), b"")
