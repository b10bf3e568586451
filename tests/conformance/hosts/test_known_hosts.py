"""The file of trusted keys: one line changes, every other stays."""

from pathlib import Path

import asyncssh
import pytest

from celadon.adapters import known_hosts
from celadon.adapters.known_hosts import KnownHosts
from celadon.core.errors import Refused


def line(host: str) -> str:
    key = asyncssh.generate_private_key("ssh-ed25519").convert_to_public()
    return known_hosts.key_line(host, 22, key)


def test_a_new_key_replaces_the_old_one_of_that_host_only(tmp_path: Path) -> None:
    file = KnownHosts(tmp_path / "a" / "known_hosts")
    one, two, newer = line("one"), line("two"), line("one")
    file.trust(one)
    file.path.write_text("# written by terraform\n" + file.text())
    file.trust(two)
    file.trust(newer)
    assert file.text() == f"# written by terraform\n{two}\n{newer}\n"
    file.forget("two")
    assert file.text() == f"# written by terraform\n{newer}\n"
    assert [entry.name for entry in file.path.parent.iterdir()] == ["known_hosts"]


def test_ports_are_part_of_a_name() -> None:
    assert (known_hosts.pattern("h", 22), known_hosts.pattern("h", 2222)) == ("h", "[h]:2222")


def test_a_fingerprint_is_the_one_that_openssh_prints() -> None:
    key = asyncssh.generate_private_key("ssh-ed25519").convert_to_public()
    assert known_hosts.fingerprint_of_line(known_hosts.key_line("h", 22, key)) == known_hosts.fingerprint(key)
    with pytest.raises(Refused):
        known_hosts.fingerprint_of_line("h ssh-ed25519")


def test_a_line_that_cannot_be_read_is_refused_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "known_hosts").write_text("one-word\n")
    with pytest.raises(Refused, match="known_hosts"):
        known_hosts.read_all(tmp_path / "known_hosts", [])


def test_a_line_of_the_users_own_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    good = line("one")
    (tmp_path / "theirs").write_text(f"one-word\n{good}\n")
    known = known_hosts.read_all(tmp_path / "none", [tmp_path / "theirs"])
    [key] = known.match("one", "", None)[0]
    assert known_hosts.key_line("one", 22, key) == good


def test_whoever_made_the_machine_knows_better_than_any_file(tmp_path: Path) -> None:
    old, other, mine, made = line("192.0.2.1"), line("192.0.2.2"), line("192.0.2.1"), line("192.0.2.1")
    (tmp_path / "project").write_text(f"{old.replace('192.0.2.1', '[192.0.2.1]:2222')}\n{other}\n")
    (tmp_path / "theirs").write_text(f"{mine}\n")
    known = known_hosts.read_all(tmp_path / "project", [tmp_path / "theirs"], f"{made}\n")
    for port in (None, 2222):
        [key] = known.match("192.0.2.1", "", port)[0]
        assert known_hosts.key_line("192.0.2.1", 22, key) == made
    assert len(known.match("192.0.2.2", "", None)[0]) == 1


def test_a_made_line_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="known_hosts"):
        known_hosts.read_all(tmp_path / "none", [], "one-word\n")
