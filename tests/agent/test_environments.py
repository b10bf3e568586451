"""Which environment a source needs, and how it is made where there is no uv."""

import sys
from pathlib import Path

import pytest

from celadon.agent import bind, environments, processes, settings
from celadon.agent.errors import AgentError

HASH = "sha256:" + "0" * 64


def key(folder: Path, files: dict[str, str], archive: str = HASH) -> str:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return environments.recipe(folder, archive).key


def test_equal_requirements_share_an_environment(tmp_path: Path) -> None:
    one = key(tmp_path / "one", {"requirements.txt": "flask\n", "app.py": "1"})
    assert one == key(tmp_path / "two", {"requirements.txt": "flask\n", "app.py": "2"}, "sha256:" + "1" * 64)
    assert one != key(tmp_path / "three", {"requirements.txt": "flask==3\n"})


def test_a_change_in_an_included_file_is_another_environment(tmp_path: Path) -> None:
    files = {"requirements.txt": "-r base.txt\n-c limits.txt\n", "base.txt": "flask\n", "limits.txt": "flask<4\n"}
    one = key(tmp_path / "one", files)
    assert one != key(tmp_path / "two", {**files, "base.txt": "django\n"})
    assert one != key(tmp_path / "three", {**files, "limits.txt": "flask<3\n"})
    assert one == key(tmp_path / "four", files)


@pytest.mark.parametrize("line", ["-e .", ".", "./lib", "lib @ file:///srv/lib", "--editable ./lib"])
def test_what_installs_the_source_itself_is_not_shared(tmp_path: Path, line: str) -> None:
    files = {"requirements.txt": f"flask\n{line}\n"}
    assert key(tmp_path / "one", files) != key(tmp_path / "two", files, "sha256:" + "1" * 64)


def test_an_include_that_leads_out_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("one\n")
    one = key(tmp_path / "app", {"requirements.txt": "-r ../secret\n"})
    (tmp_path / "secret").write_text("two\n")
    assert key(tmp_path / "app", {}) == one


def test_a_lock_is_honoured_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/uv.lock").write_text("version = 1\n")
    (tmp_path / "app/pyproject.toml").write_text("[project]\nname='x'\nversion='1'\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AgentError, match=r"has a uv\.lock, and the host has no uv"):
        environments.recipe(tmp_path / "app", HASH)
    (tmp_path / "app/requirements.txt").write_text("flask\n")
    assert environments.recipe(tmp_path / "app", HASH).kind == "requirements"
    uv = tmp_path / ".local/bin/uv"
    uv.parent.mkdir(parents=True)
    uv.write_text("#!/bin/sh\n")
    uv.chmod(0o755)
    assert environments.recipe(tmp_path / "app", HASH)[::2] == ("lock", str(uv))


@pytest.mark.slow
def test_a_host_without_uv_builds_with_venv_and_pip(state: Path, tmp_path: Path) -> None:
    key(tmp_path / "app", {"pyproject.toml": "[project]\nname='x'\nversion='1'\ndependencies=[]\n"})
    wanted = environments.Recipe("project", "k1", None)
    made = environments.ensure("shop", tmp_path / "app", wanted)
    shown = processes.run([str(made / "bin/python"), "-c", "import pip; print('pip')"], cwd="/", seconds=60)
    assert shown == "pip\n"
    assert environments.ensure("shop", tmp_path / "app", wanted) == made


def test_what_a_crash_left_is_made_anew_and_a_failure_leaves_nothing(state: Path, tmp_path: Path) -> None:
    uv = tmp_path / "uv"
    uv.write_text(f"#!{sys.executable}\nimport pathlib, sys\npathlib.Path(sys.argv[-1]).mkdir()\n")
    uv.chmod(0o755)
    left = state / "shop/environments/k2"
    left.mkdir(parents=True)
    (left / "half-made").touch()
    wanted = environments.Recipe("empty", "k2", str(uv))
    (tmp_path / "app").mkdir()
    assert environments.ensure("shop", tmp_path / "app", wanted) == left
    assert [entry.name for entry in left.iterdir()] == [environments.DONE]

    uv.write_text("#!/bin/sh\necho 'GET https://me:hunter2@index.example/simple: 403'\nexit 1\n")
    with pytest.raises(AgentError, match=r"uv failed \(exit 1\)") as caught:
        environments.ensure("shop", tmp_path / "app", wanted._replace(key="k3"))
    assert caught.value.details == ["GET https://***@index.example/simple: 403"]
    assert not (state / "shop/environments/k3").exists()


def test_a_program_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    source = "import os, time; os.fork(); print(os.getpid(), flush=True); time.sleep(600)"
    with pytest.raises(AgentError, match="did not end within") as caught:
        processes.run([sys.executable, "-c", source], cwd=str(tmp_path), seconds=0.3)
    assert caught.value.kind == "unavailable"


@pytest.mark.parametrize(
    ("name", "value"), [("1X", "v"), ("A-B", "v"), ("", "v"), ("A=B", "v"), ("A", "nul\0"), ("A", "x" * 200_000)]
)
def test_what_no_environment_can_hold_is_refused_unsaid(state: Path, name: str, value: str) -> None:
    with pytest.raises(AgentError) as caught:
        settings.put("shop", {"id": "0123456789"}, {name: value})
    assert caught.value.kind == "refused"
    assert value not in str(caught.value) or len(value) == 1
    assert settings.present("shop") == []


def test_a_bind_file_says_where_an_address_lives(state: Path, tmp_path: Path) -> None:
    file = tmp_path / "home/.config/celadon/bind"
    file.parent.mkdir(parents=True)
    file.write_text("# lab\n192.168.200.1   127.1.0.11  # one\n\n192.168.200.2 nonsense\n192.168.200.3 ::\nbroken\n")
    assert bind.resolve("192.168.200.1") == "127.1.0.11"
    assert bind.resolve("127.9.9.9") == "127.9.9.9"
    for address in ("192.168.200.2", "192.168.200.3", "192.168.200.4", "0.0.0.0", "::", "host.example", ""):
        with pytest.raises(AgentError) as caught:
            bind.resolve(address)
        assert caught.value.kind == "refused"
