"""Names that must not change: a release's id is written on every host."""

import msgspec
import pytest
from tests.core.builders import GREEN, slot

from celadon.core.release import Colour, Release, replica_name
from celadon.core.secret import Secret
from celadon.core.strategy import Approve, RunTest, SetWeight, blue_green

RELEASE = Release(
    app="shop",
    version="v1.2.0",
    artifact="registry.example/shop@sha256:" + "ab" * 32,
    runtime="docker",
    command=("gunicorn", "shop:app"),
    container_port=8000,
    env=(("DEBUG", "0"),),
    secrets=(("SECRET_KEY", "0011223344556677"),),
)


def test_an_id_is_the_same_in_every_version() -> None:
    """Changing this makes every running replica a stranger: add fields only with a default that is left out."""
    assert RELEASE.id == "dce33c9743"


@pytest.mark.parametrize(
    "change",
    [
        {"app": "other"},
        {"version": "v1.2.1"},
        {"artifact": "x"},
        {"runtime": "venv"},
        {"command": ()},
        {"container_port": 1},
        {"env": ()},
        {"secrets": (("SECRET_KEY", "1011223344556677"),)},
        {"stop_timeout": 41.0},
    ],
)
def test_whatever_differs_makes_another_release(change: dict[str, object]) -> None:
    assert msgspec.structs.replace(RELEASE, **change).id != RELEASE.id


def test_a_release_read_back_is_the_same_release() -> None:
    assert msgspec.json.decode(msgspec.json.encode(RELEASE), type=Release).id == RELEASE.id


def test_names_come_from_what_they_name() -> None:
    assert replica_name("shop", "abc", slot(GREEN)) == "celadon-shop-abc-green-0-8000"
    assert slot(GREEN).key == "green-0:8000"
    assert slot(GREEN).node_address == "192.168.129.10:8000"


def test_colours_come_in_pairs() -> None:
    assert [colour.other for colour in Colour] == [Colour.GREEN, Colour.BLUE]


def test_blue_green_is_tests_then_a_person_then_everything() -> None:
    assert blue_green(("a", "b"), hold=True) == (RunTest("a"), RunTest("b"), Approve(), SetWeight(100))
    assert blue_green((), hold=False) == (SetWeight(100),)


def test_a_secret_is_not_shown_and_not_written() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret!r} {secret}"
    assert secret.reveal() == "hunter2"
    assert secret == Secret("hunter2") != Secret("other")
    assert len({secret, Secret("hunter2")}) == 1
    with pytest.raises(TypeError):
        secret.__reduce__()
