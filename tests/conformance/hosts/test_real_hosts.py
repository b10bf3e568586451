"""What only a real host can show: processes, sockets, environments, and what survives the end of a session."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from celadon.adapters import agent_bundle
from celadon.adapters.host import Command, LogQuestion, SshHosts
from celadon.core.errors import CeladonError, Refused, Unavailable
from celadon.core.observed import SlotFacts
from celadon.core.release import Colour, Release, Slot
from celadon.core.secret import Secret
from celadon.ports import Placement

from .conftest import HOSTS_UNDER_TEST, Archives, Bench

pytestmark = pytest.mark.slow  # a real sshd

SENTINEL = "s3ntinel-7f1c9\nsecond line 'quoted' $(true)"


@pytest.fixture(params=sorted(set(HOSTS_UNDER_TEST) - {"memory"}))
async def bench(request: pytest.FixtureRequest, app: str, archives: Archives) -> AsyncIterator[Bench]:
    async with HOSTS_UNDER_TEST[request.param](request, app, archives) as made:
        yield made


def ssh(bench: Bench) -> SshHosts:
    assert isinstance(bench.hosts, SshHosts)
    return bench.hosts


async def get(slot: Slot, path: str) -> str:
    reader, writer = await asyncio.open_connection(slot.address, slot.port)
    writer.write(f"GET {path} HTTP/1.0\r\nHost: here\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.partition(b"\r\n\r\n")[2].decode().removeprefix("here ")


async def output(bench: Bench, command: Command, stdin: AsyncIterator[bytes] | None = None) -> tuple[int, bytes, bytes]:
    streams = {1: b"", 2: b""}

    async def take(stream: int, data: bytes) -> None:
        streams[stream] += data

    code = await ssh(bench).run(bench.name, command, take=take, stdin=stdin)
    return code, streams[1], streams[2]


async def test_the_environment_is_what_was_asked_and_a_secret_is_nowhere_else(bench: Bench) -> None:
    release, slot = bench.release("v3", env=(("PLAIN", "a=b c"),), secrets=(("TOKEN", "f"),)), bench.slot()
    await bench.hosts.put_settings(bench.writ(), release, {"TOKEN": Secret(SENTINEL)})
    await bench.hosts.put_artifact(bench.writ(), release)
    await bench.hosts.start(bench.writ(), Placement(release, slot, Colour.GREEN, 1))
    await bench.until(slot, release, lambda facts: facts.probe is not None and facts.probe.ok)

    seen = {name: await get(slot, f"/{name}") for name in ("TOKEN", "PLAIN", "APP_VERSION", "PORT", "CELADON_COLOUR")}
    assert seen == {
        "TOKEN": SENTINEL,
        "PLAIN": "a=b c",
        "APP_VERSION": "v3",
        "PORT": str(slot.port),
        "CELADON_COLOUR": "green",
    }
    assert await get(slot, "/CELADON_RELEASE") == release.id

    secret = SENTINEL.partition("\n")[0].encode()
    assert command_lines_with(secret) == []
    [holder] = files_with(secret, bench.state / bench.app)
    assert (holder.name, holder.stat().st_mode & 0o777) == ("env", 0o600)
    await bench.hosts.stop(bench.writ(), release.id, slot, 5.0)


def command_lines_with(text: bytes) -> list[Path]:
    return [file for file in Path("/proc").glob("[0-9]*/cmdline") if text in readable(file)]


def files_with(text: bytes, folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and text in file.read_bytes()]


def readable(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


async def test_an_error_does_not_quote_a_value(bench: Bench) -> None:
    release = bench.release(secrets=(("TOKEN", "f"),))
    for value in ("nul \0 " + SENTINEL, SENTINEL * 10_000):
        with pytest.raises(Refused, match="TOKEN") as caught:
            await bench.hosts.put_settings(bench.writ(), release, {"TOKEN": Secret(value)})
        assert "s3ntinel" not in repr(error_texts(caught.value))
    assert (await bench.look_at_host(bench.slot())).settings == frozenset()


def error_texts(error: CeladonError) -> tuple[object, ...]:
    return error.args, error.message, error.hint, error.details, error.where


@pytest.mark.parametrize(("path", "status", "error"), [("/ill", 503, "answered 503"), ("/moved", 302, "answered 302")])
async def test_only_2xx_passes(bench: Bench, path: str, status: int, error: str) -> None:
    release, slot = bench.release(), bench.slot()
    await bench.deploy(release, slot)
    probe = (await bench.look(slot, release, probe=True, path=path)).probe
    assert probe is not None
    assert (probe.ok, probe.status, probe.error) == (False, status, error)
    await bench.hosts.stop(bench.writ(), release.id, slot, 5.0)


async def test_a_replica_that_does_not_listen_fails_its_probe(bench: Bench) -> None:
    release, slot = bench.release(artifact=bench.source("import time\ntime.sleep(60)\n")), bench.slot()
    await bench.hosts.put_settings(bench.writ(), release, {})
    await bench.hosts.put_artifact(bench.writ(), release)
    await bench.hosts.start(bench.writ(), Placement(release, slot, Colour.BLUE, 1))
    seen = await bench.until(slot, release, lambda facts: facts.probe is not None)
    assert seen.probe is not None
    assert (seen.probe.ok, seen.probe.status, seen.probe.error) == (False, None, "connection refused")
    assert not seen.listening
    await bench.hosts.stop(bench.writ(), release.id, slot, 5.0)


async def test_a_release_that_dies_at_import_shows_its_restarts_and_last_words(bench: Bench) -> None:
    release, slot = bench.release(artifact=bench.source("import no_such_module\n")), bench.slot()
    await bench.hosts.put_settings(bench.writ(), release, {})
    await bench.hosts.put_artifact(bench.writ(), release)
    await bench.hosts.start(bench.writ(), Placement(release, slot, Colour.BLUE, 1))

    def has_died_thrice(facts: SlotFacts) -> bool:
        return facts.replica is not None and facts.replica.restarts >= 3 and not facts.replica.running

    seen = await bench.until(slot, release, has_died_thrice)
    assert seen.replica is not None
    assert seen.replica.exit_code == 1
    lines = await bench.hosts.tail(bench.name, bench.app, release.id, slot, 3)
    assert "No module named 'no_such_module'" in lines[-1]
    await bench.hosts.stop(bench.writ(), release.id, slot, 5.0)
    assert not (await bench.look(slot, release)).listening


async def test_a_crash_is_another_start(bench: Bench) -> None:
    release, slot = bench.release(), bench.slot()
    await bench.deploy(release, slot)
    first = (await bench.look(slot, release)).replica
    assert first is not None
    await get(slot, "/exit")

    def is_back(facts: SlotFacts) -> bool:
        return facts.replica is not None and facts.replica.running and facts.replica.id != first.id

    again = (await bench.until(slot, release, is_back)).replica
    assert again is not None
    assert again.restarts == 1
    await bench.hosts.stop(bench.writ(), release.id, slot, 5.0)


async def test_an_open_request_is_counted_and_answered_before_the_end(bench: Bench) -> None:
    source = """
import http.server, signal, sys, threading, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/slow":
            time.sleep(1.5)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"done")
server = http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler)
server.daemon_threads = False
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
server.server_close()
"""
    release, slot = bench.release(artifact=bench.source(source)), bench.slot()
    await bench.deploy(release, slot)
    before = await bench.look(slot, release)
    request = asyncio.create_task(get(slot, "/slow"))
    busy = await bench.until(slot, release, lambda facts: facts.open == 1, probe=False)
    assert before.opened is not None
    assert busy.opened == before.opened + 1
    assert await bench.hosts.stop(bench.writ(), release.id, slot, 20.0) == 1
    assert await request == "done"
    seen = await bench.look(slot, release)
    assert seen.replica is not None
    assert (seen.open, seen.replica.exit_code) == (0, 0)


async def test_a_replica_that_ignores_sigterm_is_killed_with_all_it_started(bench: Bench) -> None:
    source = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setpgid(0, 0)
os.write(1, b"pid %d\\n" % os.getpid())
time.sleep(600)
"""
    release, slot = bench.release(artifact=bench.source(source)), bench.slot()
    await bench.hosts.put_settings(bench.writ(), release, {})
    await bench.hosts.put_artifact(bench.writ(), release)
    await bench.hosts.start(bench.writ(), Placement(release, slot, Colour.BLUE, 1))
    pids: list[int] = []
    async with asyncio.timeout(30):
        while len(pids) < 2:
            lines = await bench.hosts.tail(bench.name, bench.app, release.id, slot, 10)
            pids = [int(line.split()[1]) for line in lines if line.startswith("pid ")]
    assert all(alive(pid) for pid in pids)
    await bench.hosts.stop(bench.writ(), release.id, slot, 0.3)
    assert not any(alive(pid) for pid in pids)
    seen = (await bench.look(slot, release)).replica
    assert seen is not None
    assert seen.exit_code == 128 + signal.SIGKILL


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


async def ended(pid: int) -> None:
    async with asyncio.timeout(20):
        while True:
            if not alive(pid):
                return
            await asyncio.sleep(0.02)


async def test_a_replica_survives_the_session_that_started_it(bench: Bench) -> None:
    release, slot = bench.release(), bench.slot()
    await bench.deploy(release, slot)
    before = (await bench.look(slot, release)).replica
    await ssh(bench).close()
    after = (await bench.look(slot, release)).replica
    assert after == before
    assert ssh(bench).count_requests[bench.name].connections == 2
    await bench.hosts.stop(bench.writ(), release.id, slot, 5.0)


async def test_a_replica_starts_again_with_its_machine_and_a_stopped_one_does_not(bench: Bench) -> None:
    release, slot = bench.release(), bench.slot()
    await bench.deploy(release, slot)
    boot = bench.home / ".config/celadon/boot.d" / f"celadon-{bench.app}-{release.id}-{slot.host}-{slot.port}"
    assert os.access(boot, os.X_OK)
    power_off(bench, release, slot)
    assert not (await bench.look(slot, release)).listening

    process = await asyncio.create_subprocess_exec(boot)
    assert await process.wait() == 0
    await bench.until(slot, release, lambda facts: facts.probe is not None and facts.probe.ok)
    await bench.hosts.stop(bench.writ(), release.id, slot, 5.0)
    assert not boot.exists()


def power_off(bench: Bench, release: Release, slot: Slot) -> None:
    state = supervised(bench, release, slot)
    for name in ("supervisor", "pid"):
        os.kill(state[name], signal.SIGKILL)
    while any(alive(state[name]) for name in ("supervisor", "pid")):
        os.sched_yield()


def supervised(bench: Bench, release: Release, slot: Slot) -> dict[str, int]:
    name = f"celadon-{bench.app}-{release.id}-{slot.host}-{slot.port}"
    found: dict[str, int] = json.loads((bench.state / bench.app / "replicas" / name / "state.json").read_text())
    return found


async def test_a_replica_without_its_supervisor_is_still_ours(bench: Bench) -> None:
    release, slot = bench.release(), bench.slot()
    await bench.deploy(release, slot)
    os.kill(supervised(bench, release, slot)["supervisor"], signal.SIGKILL)
    seen = await bench.look(slot, release, probe=True)
    assert seen.replica is not None
    assert (seen.replica.running, seen.foreign) == (True, None)
    await bench.hosts.start(bench.writ(), Placement(release, slot, Colour.BLUE, 1))
    assert (await bench.look(slot, release)).replica == seen.replica
    await bench.hosts.stop(bench.writ(), release.id, slot, 5.0)
    assert not (await bench.look(slot, release)).listening


async def test_a_replica_binds_where_the_host_says_its_address_lives(bench: Bench) -> None:
    file = bench.home / ".config/celadon/bind"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("# behind NAT\n192.168.131.7 127.0.0.1\n192.168.131.8 0.0.0.0\n")
    release = bench.release()
    slot = Slot(bench.name, "192.168.131.7", bench.slot().port)
    await bench.deploy(release, slot)
    assert await get(Slot(bench.name, "127.0.0.1", slot.port), "/APP_VERSION") == "v1"
    assert (await bench.look(slot, release)).open == 0
    await bench.hosts.stop(bench.writ(), release.id, slot, 5.0)
    with pytest.raises(Refused, match="every interface"):
        await bench.look(Slot(bench.name, "192.168.131.8", slot.port))
    with pytest.raises(Refused, match=r"192\.168\.131\.9 is not an address of this host"):
        await bench.look(Slot(bench.name, "192.168.131.9", slot.port))


async def test_a_program_that_the_release_has_not_is_named(bench: Bench) -> None:
    release, slot = bench.release(command=("gunicorn-of-nowhere", "app:app")), bench.slot()
    await bench.hosts.put_settings(bench.writ(), release, {})
    await bench.hosts.put_artifact(bench.writ(), release)
    with pytest.raises(Refused, match="gunicorn-of-nowhere"):
        await bench.hosts.start(bench.writ(), Placement(release, slot, Colour.BLUE, 1))


async def test_an_archive_that_is_not_what_it_says_is_not_kept(bench: Bench, archives: Archives) -> None:
    release = bench.release()
    wrong = bench.release(artifact="sha256:" + "0" * 64)
    (await archives.of(wrong)).write_bytes((await archives.of(release)).read_bytes())
    await bench.hosts.put_settings(bench.writ(), wrong, {})
    with pytest.raises(Unavailable, match="sha256:"):
        await bench.hosts.put_artifact(bench.writ(), wrong)
    assert (await bench.look_at_host(bench.slot())).artifacts == frozenset()
    assert not list((bench.state / bench.app / "archives").iterdir())


async def test_looks_and_fences_do_not_wait_for_an_artifact(bench: Bench, archives: Archives) -> None:
    release, arrived = bench.release(), asyncio.Event()
    original = archives.of

    class Slow(Archives):
        async def of(self, release: Release) -> Path:
            await arrived.wait()
            return await original(release)

    ssh(bench)._archive_of = Slow(archives._folder).of
    await bench.hosts.put_settings(bench.writ(), release, {})
    putting = asyncio.create_task(bench.hosts.put_artifact(bench.writ(), release))
    for _ in range(3):
        assert (await bench.look_at_host(bench.slot())).artifacts == frozenset()
    await bench.hosts.raise_fence(bench.writ(2))
    assert not putting.done()
    arrived.set()
    assert await putting > 0
    assert (await bench.look_at_host(bench.slot())).artifacts == {release.artifact}


async def test_requirements_are_installed_and_shared_between_releases(bench: Bench) -> None:
    files = {"requirements.txt": "-r base.txt\n", "base.txt": "iniconfig==2.1.0\n", "serve.py": "import iniconfig\n"}
    one = bench.release("v1", artifact=bench.archives.add({**files, "note": "1"}))
    two = bench.release("v2", artifact=bench.archives.add({**files, "note": "2"}))
    other = bench.release("v3", artifact=bench.archives.add({**files, "base.txt": "iniconfig==2.0.0\n"}))
    for release in (one, two, other):
        await bench.hosts.put_settings(bench.writ(), release, {})
        await bench.hosts.put_artifact(bench.writ(), release)
    environments = [entry for entry in (bench.state / bench.app / "environments").iterdir() if entry.is_dir()]
    assert len(environments) == 2
    show = "import iniconfig, importlib.metadata as m; print(m.version('iniconfig'))"
    for release, version in ((one, b"2.1.0"), (two, b"2.1.0"), (other, b"2.0.0")):
        command = Command(("python", "-c", show), bench.app, release.id, bench.slot())
        assert await output(bench, command) == (0, version + b"\n", b"")

    await bench.hosts.prune(bench.writ(), frozenset({two.id}))
    assert len([entry for entry in (bench.state / bench.app / "environments").iterdir() if entry.is_dir()]) == 1
    assert (await bench.look_at_host(bench.slot())).artifacts == {two.artifact}


async def test_requirements_that_cannot_be_had_leave_nothing(bench: Bench) -> None:
    release = bench.release(artifact=bench.archives.add({"requirements.txt": "./no-such-folder\n", "serve.py": ""}))
    await bench.hosts.put_settings(bench.writ(), release, {})
    with pytest.raises(Refused, match="uv failed") as caught:
        await bench.hosts.put_artifact(bench.writ(), release)
    assert "no-such-folder" in "\n".join(caught.value.details)
    assert (await bench.look_at_host(bench.slot())).artifacts == frozenset()
    assert not [entry for entry in (bench.state / bench.app / "environments").iterdir() if entry.is_dir()]


async def test_a_command_has_its_streams_and_its_exit_code(bench: Bench) -> None:
    async def typed() -> AsyncIterator[bytes]:
        yield b"one\n"
        yield b"two\n"

    words = "a b'c\"$(touch x)\n"
    script = "import sys; d = sys.stdin.read(); print(sys.argv[1], end=''); print(d, file=sys.stderr); sys.exit(7)"
    assert await output(bench, Command(("python3", "-c", script, words)), typed()) == (
        7,
        words.encode(),
        b"one\ntwo\n\n",
    )
    with pytest.raises(Refused, match="no-such-program"):
        await output(bench, Command(("no-such-program",)))


async def test_a_command_may_write_more_than_anyone_holds(bench: Bench) -> None:
    script = "import sys\nfor _ in range(80): sys.stdout.write('x' * 65536)"
    received = 0

    async def slowly(_stream: int, data: bytes) -> None:
        nonlocal received
        received += len(data)
        await asyncio.sleep(0)

    code = await ssh(bench).run(bench.name, Command(("python3", "-c", script)), take=slowly)
    assert (code, received) == (0, 80 * 65536)


async def test_a_reader_that_pauses_loses_nothing(bench: Bench) -> None:
    received = b""

    async def take(_stream: int, data: bytes) -> None:
        nonlocal received
        if not received:
            await asyncio.sleep(2.5)  # longer than the agent waits for a silent pipe
        received += data

    script = "import sys\nfor n in range(40): sys.stdout.write(str(n % 10) * 65536)"
    assert await ssh(bench).run(bench.name, Command(("python3", "-c", script)), take=take) == 0
    assert len(received) == 40 * 65536


async def test_a_daemon_that_a_command_leaves_does_not_hold_its_answer(bench: Bench) -> None:
    script = "import os, time\nprint('done', flush=True)\nif os.fork() == 0: os.setsid(); time.sleep(8)"
    assert await output(bench, Command(("python3", "-c", script))) == (0, b"done\n", b"")


async def test_a_command_can_have_a_terminal(bench: Bench) -> None:
    script = "import os, sys; print(sys.stdin.isatty(), os.get_terminal_size().columns)"
    code, out, _ = await output(bench, Command(("python3", "-c", script), tty=(30, 97)))
    assert (code, out.split()) == (0, [b"True", b"97"])


async def test_a_command_ends_with_the_one_who_asked(bench: Bench) -> None:
    told = asyncio.Event()
    pids: list[int] = []

    async def take(_stream: int, data: bytes) -> None:
        pids.append(int(data))
        told.set()

    script = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    running = asyncio.create_task(ssh(bench).run(bench.name, Command(("python3", "-c", script)), take=take))
    async with asyncio.timeout(30):
        await told.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await ended(pids[0])
    await bench.look_at_host(bench.slot())
    assert ssh(bench).count_requests[bench.name].connections == 1


async def test_logs_can_be_followed(bench: Bench) -> None:
    source = (
        "import time\nprint('first', flush=True)\ntime.sleep(0.3)\nprint('sec\u00f6nd', flush=True)\ntime.sleep(60)\n"
    )
    release, slot = bench.release(artifact=bench.source(source)), bench.slot()
    await bench.hosts.put_settings(bench.writ(), release, {})
    await bench.hosts.put_artifact(bench.writ(), release)
    await bench.hosts.start(bench.writ(), Placement(release, slot, Colour.BLUE, 1))
    lines = []
    question = LogQuestion(bench.app, release.id, slot, follow=True)
    async with asyncio.timeout(30), contextlib.aclosing(ssh(bench).logs(bench.name, question)) as following:
        async for line in following:
            lines.append(line)
            if len(lines) == 2:
                break
    assert [line.text for line in lines] == ["first", "sec\u00f6nd"]
    assert lines[0].utc is not None
    assert lines[1].utc is not None
    assert lines[0].utc < lines[1].utc
    again = [line async for line in ssh(bench).logs(bench.name, LogQuestion(bench.app, release.id, slot, lines=1))]
    assert again == lines[1:]
    await bench.hosts.stop(bench.writ(), release.id, slot, 5.0)


async def test_requests_are_counted_by_what_they_do(bench: Bench) -> None:
    release, slot = bench.release(), bench.slot()
    await bench.deploy(release, slot)
    await bench.hosts.stop(bench.writ(), release.id, slot, 5.0)
    await bench.store().read_lease()
    requests = ssh(bench).count_requests[bench.name]
    assert (requests.connections, requests.effects, requests.store) == (1, 4, 1)
    assert requests.reads >= 1
    assert ssh(bench).count_operations["start"] == 1


async def test_the_agent_leaves_with_its_deployer(bench: Bench) -> None:
    _, out, _ = await output(bench, Command(("python3", "-c", "import os; print(os.getppid())")))
    assert alive(int(out))
    await ssh(bench).close()
    await ended(int(out))


def test_nothing_is_in_the_agents_command_line() -> None:
    assert "celadon.adapters" not in agent_bundle.COMMAND
    for forbidden in ("\\", "\n", "!"):
        assert forbidden not in agent_bundle.COMMAND
    checked = subprocess.run(["/bin/sh", "-n", "-c", agent_bundle.COMMAND], check=False, capture_output=True)
    assert (checked.returncode, checked.stderr) == (0, b"")
