"""Which colour is live: the whole table. The balancer overrules the journal; ambiguous is an answer."""

import msgspec
import pytest
from tests.core.builders import ACCEPT, BACKUP, BLUE, GREEN, NOW, REJECT, Facts

from celadon.core.intent import Intent
from celadon.core.journal import Committed, Journal
from celadon.core.live import live
from celadon.core.observed import Mode, NodeFacts
from celadon.core.release import Colour

DRAIN = Mode.DRAIN
Row = tuple[Mode, bool | None]


def nodes(blue: list[Row], green: list[Row], *, port: int = 80) -> dict[Colour, list[NodeFacts]]:
    """One node an address; ports are told apart by the caller."""
    return {
        colour: [NodeFacts(port, port, n, "", f"{colour}:{n}", mode, 100, up) for n, (mode, up) in enumerate(rows)]
        for colour, rows in ((BLUE, blue), (GREEN, green))
    }


@pytest.mark.parametrize(
    ("blue", "green", "kind", "colour"),
    [
        ([(ACCEPT, True)], [(REJECT, False)], "serving", BLUE),
        ([(ACCEPT, True)], [], "serving", BLUE),
        ([(ACCEPT, None)], [(REJECT, None)], "serving", BLUE),
        ([(ACCEPT, True)], [(BACKUP, True)], "serving", BLUE),
        ([(ACCEPT, True), (ACCEPT, False)], [(BACKUP, True)], "serving", BLUE),
        ([(ACCEPT, False)], [(BACKUP, True)], "backup", GREEN),
        ([(ACCEPT, False)], [(BACKUP, False)], "serving", BLUE),
        ([(ACCEPT, None)], [(BACKUP, True)], "serving", BLUE),
        ([(ACCEPT, False)], [(REJECT, False)], "serving", BLUE),
        ([(REJECT, False)], [(BACKUP, True)], "backup", GREEN),
        ([(BACKUP, True)], [(BACKUP, True)], "ambiguous", None),
        ([(REJECT, False)], [(REJECT, False)], "none", None),
        ([(DRAIN, True)], [(REJECT, False)], "none", None),
        ([], [], "none", None),
        ([(ACCEPT, True)], [(ACCEPT, True)], "ambiguous", None),
    ],
)
def test_without_an_open_rollout(blue: list[Row], green: list[Row], kind: str, colour: Colour | None) -> None:
    answer = live(nodes(blue, green), None, None)
    assert (answer.kind, answer.colour) == (kind, colour)
    assert answer.because


def test_an_up_backup_serves_where_every_accept_node_is_down() -> None:
    assert live(nodes([(ACCEPT, False)], [(BACKUP, True)]), None, None).colour is GREEN


BOTH = nodes([(ACCEPT, True)], [(ACCEPT, True)])


@pytest.mark.parametrize(
    ("stage", "back", "colour"), [("raised", False, BLUE), ("baking", False, GREEN), ("baking", True, BLUE)]
)
def test_in_the_middle_of_a_rollout_the_commit_point_decides(stage: str, back: bool, colour: Colour) -> None:  # noqa: FBT001 - a table
    facts = Facts().at(stage)  # type: ignore[arg-type]
    if back:
        facts.back()
    answer = live(BOTH, facts.intent, facts.journal)
    assert (answer.kind, answer.colour) == ("serving", colour)


def test_the_balancer_overrules_the_journal() -> None:
    facts = Facts().event(Committed(at=NOW))
    assert live(nodes([(ACCEPT, True)], [(REJECT, False)]), facts.intent, facts.journal).colour is BLUE


def test_a_finished_rollout_settles_nothing() -> None:
    intent = msgspec.structs.replace(Facts().intent, finished="done")
    assert live(BOTH, intent, Journal()).kind == "ambiguous"


def test_a_first_deploy_has_no_stable_to_name() -> None:
    facts = Facts(first=True)
    assert live(BOTH, facts.intent, facts.journal).kind == "ambiguous"


def two_ports(
    first: dict[Colour, list[NodeFacts]], second: dict[Colour, list[NodeFacts]]
) -> dict[Colour, list[NodeFacts]]:
    return {colour: first[colour] + second[colour] for colour in (BLUE, GREEN)}


UNUSED_443 = nodes([(REJECT, False)], [(REJECT, False)], port=443)
BLUE_80, GREEN_443 = nodes([(ACCEPT, True)], []), nodes([], [(ACCEPT, True)], port=443)


@pytest.mark.parametrize(
    ("ports", "intent", "kind", "colour"),
    [
        (two_ports(BLUE_80, nodes([(ACCEPT, True)], [], port=443)), Facts().intent, "serving", BLUE),
        (two_ports(BLUE_80, GREEN_443), None, "ambiguous", None),
        (two_ports(BLUE_80, GREEN_443), Facts().intent, "ambiguous", None),
        (two_ports(BLUE_80, nodes([(ACCEPT, True)], [(ACCEPT, True)], port=443)), Facts().intent, "serving", BLUE),
        (two_ports(BLUE_80, UNUSED_443), None, "serving", BLUE),
        (two_ports(BLUE_80, nodes([(DRAIN, True)], [(REJECT, False)], port=443)), None, "ambiguous", None),
        (two_ports(BLUE_80, nodes([(REJECT, False)], [(BACKUP, True)], port=443)), None, "ambiguous", None),
        (two_ports(nodes([(ACCEPT, True)], [(ACCEPT, True)]), UNUSED_443), None, "ambiguous", None),
        (two_ports(nodes([(REJECT, False)], [(BACKUP, True)]), UNUSED_443), None, "backup", GREEN),
        (two_ports(nodes([(REJECT, False)], [(REJECT, False)]), UNUSED_443), None, "none", None),
    ],
)
def test_ports_that_disagree(
    ports: dict[Colour, list[NodeFacts]], intent: Intent | None, kind: str, colour: Colour | None
) -> None:
    answer = live(ports, intent, Journal() if intent is not None else None)
    assert (answer.kind, answer.colour) == (kind, colour)


@pytest.mark.parametrize(
    ("stage", "back", "answer"),
    [
        ("opened", False, ("serving", BLUE)),
        ("raised", False, ("serving", BLUE)),
        ("raised", True, ("serving", BLUE)),
        ("shifted", False, ("serving", GREEN)),
    ],
)
def test_a_port_that_a_rollout_opens_has_the_candidate_alone_for_a_while(
    stage: str,
    back: bool,  # noqa: FBT001 - a table
    answer: tuple[str, Colour],
) -> None:
    """As it is after a crash anywhere: what serves on the port that served before decides."""
    facts = Facts(ports=(80, 443), new_ports=(443,))
    for index in range(2):
        facts.is_(BLUE, index, 443, mode=REJECT, weight=1, up=False)
    facts.at(stage)  # type: ignore[arg-type]
    if back:
        facts.back()
    nodes = {
        colour: [node.facts for node in facts.nodes.values() if node.facts.label.startswith(colour.value)]
        for colour in (BLUE, GREEN)
    }
    found = live(nodes, facts.intent, facts.journal)
    assert (found.kind, found.colour) == answer
    old = msgspec.structs.replace(facts.intent, rollout=msgspec.structs.replace(facts.rollout, new_ports=()))
    if stage == "raised":
        assert live(nodes, old, facts.journal).kind == "ambiguous"
