"""The page about NodeBalancers that are there already: it has the hint of each refusal, word for word."""

import msgspec
import pytest
from tests.docs.pages import DOCS, ROOT

from celadon.config import load
from celadon.core.errors import Refused
from celadon.core.intent import Health, Timing, Verify
from celadon.core.observed import BalancerFacts, ConfigFacts, Mode, NodeFacts, Probe
from celadon.core.preflight import Scout, open_rollout
from celadon.core.release import Colour, Release, Slot
from celadon.core.wanted import Options, Wanted

PAGE = (DOCS / "how-to" / "existing-nodebalancer.md").read_text("utf-8")
SLOTS: dict[Colour, tuple[Slot, ...]] = {
    Colour.BLUE: (Slot("blue", "192.168.128.2", 5000),),
    Colour.GREEN: (Slot("green", "192.168.128.3", 5000),),
}
FIT = ConfigFacts(80, 222, "http", "http", 5.0, 2, check_passive=False, stickiness="none", nodes=())
WANTED = Wanted(
    app="hello",
    slots=SLOTS,
    ports=(),
    balancer="app-nodebalancer",
    timing=Timing(),
    health=Health(probe=Probe("/", "hello")),
    verify=Verify(url="http://192.0.2.1/"),
)
RELEASE = Release(app="hello", version="v1", artifact="sha256:0", runtime="venv")


def hint(config: ConfigFacts, throttle: int = 0) -> str:
    """What the refusal of such a balancer says to do, with the page's words for the ids."""
    balancer = BalancerFacts(111, "app-nodebalancer", "192.0.2.1", throttle, (config,))
    with pytest.raises(Refused) as refused:
        open_rollout(WANTED, RELEASE, Options(), Scout(balancer=balancer, hosts={}, utc=0.0))
    return (refused.value.hint or "").replace("111", "NODEBALANCER").replace("222", "CONFIG")


@pytest.mark.parametrize("change", [{"check": "none"}, {"check_passive": True}, {"stickiness": "table"}], ids=str)
def test_the_command_that_mends_a_setting(change: dict[str, object]) -> None:
    assert f"`{hint(msgspec.structs.replace(FIT, **change))}`" in PAGE


def test_what_no_command_mends() -> None:
    assert f"none: {hint(msgspec.structs.replace(FIT, protocol='tcp'))}" in PAGE


def test_the_throttle() -> None:
    one, other = hint(FIT, throttle=1).split(", or: ")
    assert one.replace("verify.rate", "`verify.rate`") in PAGE
    assert f"`{other}`" in PAGE


def test_nodes() -> None:
    stranger = NodeFacts(80, 222, 1, "old", "192.168.128.9:5000", Mode.ACCEPT, 100, up=True)
    assert hint(msgspec.structs.replace(FIT, nodes=(stranger,))).startswith("name its host in [hosts]")
    twice = tuple(NodeFacts(80, 222, id_, "two", "192.168.128.2:5000", Mode.REJECT, 100, up=None) for id_ in (1, 2))
    assert hint(msgspec.structs.replace(FIT, nodes=twice)) == "keep one"
    assert "name its host in `[hosts]`" in PAGE
    assert "are refused: keep one" in PAGE


def test_the_example_is_the_tutorials_application() -> None:
    """The tutorial deletes its config and Dockerfile: both must be there to delete."""
    assert load(ROOT / "examples" / "hello-flask" / "celadon.toml").health.path == "/healthz"
