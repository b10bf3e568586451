"""The program that keeps a replica running, run as it runs on a host: restarts, logs, and the end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.rig import pythons

from celadon.agent import initsystem, paths, replicas, supervisor
from celadon.agent.errors import AgentError

pytestmark = pytest.mark.slow  # supervisors and replicas as processes

PROGRAM = Path(supervisor.__file__)
SLOT = {"host": "web-1", "address": "127.0.0.1", "port": 6200}

# The supervisor, with SIGTERM raised by itself in the nth moment (a call or a return) after its command was started.
TOLD_AT = """\
import importlib.util, os, signal, sys
program, directory, left = sys.argv[1], sys.argv[3], int(sys.argv[2])
spec = importlib.util.spec_from_file_location("supervisor", program)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.POLL = 0.001

def moment(*_):
    global left
    if os.path.exists(directory + "/state.json"):
        left -= 1
        if left == 0:
            sys.setprofile(None)
            signal.raise_signal(signal.SIGTERM)

sys.setprofile(moment)
module.main()
"""


class Supervised:
    """One directory, and the supervisor on it."""

    def __init__(self, directory: Path, python: str) -> None:
        self.directory = directory
        self.python = python
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, source: str, before: Sequence[str] = (), **spec: Any) -> subprocess.Popen[bytes]:
        """`before`: what to run instead of the program itself."""
        self.specify(source, **spec)
        return self.again(before)

    def specify(self, source: str, **spec: Any) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "env").write_text(json.dumps({"GIVEN": "value"}))
        usual = {
            "argv": [sys.executable, "-u", "-c", source],
            "cwd": str(self.directory),
            "env_file": str(self.directory / "env"),
            "defaults": {"PATH": "/usr/bin:/bin", "GIVEN": "default"},
            "env": {"ALWAYS": "1"},
            "grace": 5.0,
        }
        (self.directory / "spec.json").write_text(json.dumps({**usual, **spec}))

    def again(self, before: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        environment = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "CELADON_MARK": "kept", "LEAKED": "no"}
        command = [self.python, "-I", *(before or [str(PROGRAM)]), str(self.directory)]
        self.processes.append(subprocess.Popen(command, env=environment))
        return self.processes[-1]

    def state(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.directory / "state.json").read_bytes())
        except FileNotFoundError:
            return {"phase": "", "restarts": 0, "pid": None}
        return found

    def log(self) -> list[str]:
        try:
            text = (self.directory / "log").read_text()
        except FileNotFoundError:
            return []
        return [line.partition(" ")[2] for line in text.splitlines()]

    def until(self, seen: Callable[[], object]) -> None:
        end = time.monotonic() + 60
        while not seen():
            assert time.monotonic() < end, (self.state(), self.log())
            time.sleep(0.02)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        pid = self.state().get("pid")
        if pid and supervisor.process_start(pid):
            supervisor.kill_group(pid)


@pytest.fixture(params=["current", pythons.OLDEST, pythons.NEWEST])
def supervised(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Supervised]:
    made = Supervised(tmp_path / "replica", pythons.required(request.param))
    yield made
    made.close()


def test_it_restarts_what_ends_and_counts(supervised: Supervised) -> None:
    supervised.start("import sys; print('again'); sys.exit(4)")
    supervised.until(lambda: supervised.state()["restarts"] >= 2 and supervised.state()["phase"] == "waiting")
    state = supervised.state()
    assert state["exit_code"] == 4
    assert len(supervised.log()) >= state["restarts"]


def test_the_environment_is_the_specs_and_nothing_else(supervised: Supervised) -> None:
    supervised.start("import json, os, time; print(json.dumps(dict(os.environ))); time.sleep(60)")
    supervised.until(supervised.log)
    seen = json.loads(supervised.log()[0])
    assert (seen["GIVEN"], seen["ALWAYS"], seen["CELADON_MARK"], seen["HOME"]) == ("value", "1", "kept", "/tmp")
    assert "LEAKED" not in seen


def test_sigterm_goes_to_the_command_and_ends_both(supervised: Supervised) -> None:
    process = supervised.start(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('bye'), sys.exit(0)))\n"
        "print('up')\n"
        "time.sleep(60)"
    )
    supervised.until(supervised.log)
    process.terminate()
    assert process.wait(30) == 0
    assert supervised.log() == ["up", "bye"]
    state = supervised.state()
    assert (state["phase"], state["exit_code"]) == ("stopped", 0)


def test_it_may_be_told_in_any_moment_of_its_wait(tmp_path: Path) -> None:
    """A handler runs between two steps of what it interrupts: were it to take a lock, that one might have it."""
    told = [(Supervised(tmp_path / str(moment), sys.executable), moment) for moment in range(1, 41)]
    try:
        for one, moment in told:
            one.start("", before=["-c", TOLD_AT, str(PROGRAM), str(moment)], argv=["/bin/sleep", "600"])
        ended = {moment: one.processes[0].wait(30) for one, moment in told}
        assert ended == {moment: 0 for _, moment in told}
        assert {one.state()["phase"] for one, _ in told} == {"stopped"}
    finally:
        for one, _ in told:
            one.close()


def test_a_stop_names_the_supervisor_that_does_not_end(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "STOP_MARGIN", 0.2)
    stuck = Supervised(replica_directory(), sys.executable)
    try:
        process = stuck.start("import time; print('up'); time.sleep(600)", release="0123456789", slot=SLOT)
        stuck.until(stuck.log)
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(AgentError, match="did not end within") as caught:
            replicas.stop("shop", "0123456789", SLOT, 0.2)
        assert caught.value.hint == f"on the host: kill -9 {process.pid}   then run this again"
        process.kill()
        process.wait()
        replicas.stop("shop", "0123456789", SLOT, 0.2)
        assert supervisor.process_start(stuck.state()["pid"]) is None
    finally:
        stuck.close()


def test_a_number_from_before_a_boot_is_nobodys(state: Path) -> None:
    """The supervisor that the boot started holds the directory, and has not written yet who it is."""
    directory = replica_directory()
    directory.mkdir(parents=True)
    (directory / "spec.json").write_text(json.dumps({"release": "0123456789", "slot": SLOT}))
    holds = "import fcntl, sys, time; f = open(sys.argv[1], 'ab'); fcntl.flock(f, 2); print(flush=True); time.sleep(1)"
    innocent = subprocess.Popen(["/bin/sleep", "600"])
    holder = subprocess.Popen([sys.executable, "-c", holds, str(directory / "lock")], stdout=subprocess.PIPE)
    try:
        number = {"supervisor": innocent.pid, "boot_id": "of the boot before"}
        (directory / "state.json").write_text(json.dumps(number))
        assert holder.stdout is not None
        holder.stdout.readline()
        replicas.stop("shop", "0123456789", SLOT, 30.0)
        assert not supervisor.supervised(directory)
        assert innocent.poll() is None
    finally:
        for process in (innocent, holder):
            process.kill()
            process.communicate()


def test_an_orphans_number_that_was_given_away_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(supervisor, "kill_group", ended.append)
    with subprocess.Popen(["/bin/sleep", "600"]) as orphan:
        seen = iter(["born", "another"])
        monkeypatch.setattr(supervisor, "process_start", lambda _pid: next(seen, "another"))
        replicas._stop_orphan(orphan.pid, 5.0)
        assert ended == []
        monkeypatch.setattr(supervisor, "process_start", lambda _pid: "born")  # it outlives its grace
        replicas._stop_orphan(orphan.pid, 0.0)
        assert ended == [orphan.pid]
        orphan.kill()


def replica_directory() -> Path:
    name = paths.replica_name("shop", "0123456789", str(SLOT["host"]), int(str(SLOT["port"])))
    return paths.app_dir("shop") / "replicas" / name


def test_workers_get_no_sigterm_and_may_finish_within_the_grace(supervised: Supervised) -> None:
    source = (
        "import os, signal, sys, time\n"
        "if os.fork() == 0:\n"
        "    signal.signal(signal.SIGTERM, lambda *_: print('worker was told'))\n"
        "    print('worker')\n"
        "    end = time.monotonic() + 0.5\n"
        "    while time.monotonic() < end: time.sleep(0.01)\n"
        "    os.kill(os.getpid(), 0); os._exit(0)\n"
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\n"
        "time.sleep(60)"
    )
    process = supervised.start(source, grace=20.0)
    supervised.until(supervised.log)
    process.terminate()
    assert process.wait(30) == 0
    assert supervised.log() == ["worker"]


def test_a_stop_file_shortens_the_grace(supervised: Supervised) -> None:
    process = supervised.start(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(600)",
        grace=600.0,
    )
    supervised.until(supervised.log)
    (supervised.directory / "stop.json").write_text('{"grace": 0.1}')
    process.terminate()
    assert process.wait(30) == 0
    assert supervised.state()["exit_code"] == 128 + signal.SIGKILL


def test_a_crash_takes_its_workers_along(supervised: Supervised) -> None:
    source = (
        "import os, sys, time\n"
        "child = os.fork()\n"
        "if child == 0: time.sleep(600)\n"
        "os.write(1, b'worker %d\\n' % child)\n"
        "os._exit(1)"
    )
    supervised.start(source)
    supervised.until(lambda: supervised.state()["restarts"] >= 1)
    first = int(supervised.log()[0].split()[1])
    supervised.until(lambda: supervisor.process_start(first) is None)


def test_what_a_crash_left_is_ended_while_the_number_is_still_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a process was waited for, the next one on the machine may get its number, and the signals that go there."""
    Supervised(tmp_path / "replica", sys.executable).specify("import sys; sys.exit(4)")
    seen = []
    monkeypatch.setattr(supervisor, "kill_group", lambda pid: seen.append(Path(f"/proc/{pid}/stat").read_bytes()))
    one = supervisor.Supervisor(tmp_path / "replica")
    one._start()
    one._wait()
    assert one._child is not None
    assert one._child.stdout is not None
    one._child.stdout.close()
    one._log._file.close()
    (stat,) = seen
    assert stat.rpartition(b")")[2].split()[0] == b"Z"
    assert one._exit_code == 4


def test_logs_are_bounded(supervised: Supervised) -> None:
    source = (
        "import time\nfor n in range(3000): print(n, 'x' * 100)\nprint('y' * 50_000)\nprint('last')\ntime.sleep(60)"
    )
    supervised.start(source, log_bytes=20_000)
    supervised.until(lambda: supervised.log()[-1:] == ["last"])
    sizes = [(supervised.directory / name).stat().st_size for name in ("log", "log.1")]
    assert max(sizes) < 20_000 + supervisor.LINE_BYTES + 100
    assert (supervised.directory / "log").stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_started_says_why(supervised: Supervised) -> None:
    supervised.start("", argv=["/no/such/program"])
    supervised.until(lambda: supervised.state()["restarts"] >= 1)
    assert supervised.state()["exit_code"] == 127
    assert supervised.log()[0] == "celadon: cannot start /no/such/program: No such file or directory"


def test_a_second_supervisor_leaves_it_alone(supervised: Supervised) -> None:
    supervised.start("import time; print('up'); time.sleep(60)")
    supervised.until(supervised.log)
    before = supervised.state()
    assert supervisor.supervised(supervised.directory)
    assert supervised.again().wait(30) == 0
    assert supervised.state() == before
    assert supervised.log() == ["up"]


def test_a_unit_file_holds_paths_and_no_value(state: Path) -> None:
    directory = Path("/var/lib/celadon/shop/replicas/celadon-shop-0123456789-web-1-5000")
    text = initsystem.unit_text("celadon-shop-0123456789-web-1-5000", directory, Path("/var/lib/celadon/s.py"), 40)
    assert f"ExecStart={sys.executable} -I /var/lib/celadon/s.py {directory}\n" in text
    assert "KillMode=mixed\nTimeoutStopSec=50\nRestart=on-failure\n" in text
    with pytest.raises(Exception, match="unit file"):
        initsystem.unit_text("n", Path("/var/lib/a b"), Path("/s.py"), 40)


def test_a_boot_script_needs_no_shell() -> None:
    script = initsystem.boot_script(Path("/srv/it's/s.py"), Path('/srv/a "b"\n$(c)'))
    compiled = compile(script, "boot", "exec")
    assert script.startswith(f"#!{sys.executable}\n")
    assert '/srv/a "b"\n$(c)' in [one for const in compiled.co_consts if isinstance(const, tuple) for one in const] or (
        '/srv/a "b"\n$(c)' in compiled.co_consts
    )


def test_a_process_that_ended_is_gone_even_as_a_zombie() -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    end = time.monotonic() + 30
    while supervisor.process_start(process.pid) is not None:
        assert time.monotonic() < end
    process.wait()
    assert supervisor.process_start(os.getpid()) is not None
