"""Which decisions were seen, and which together with which fault: a rule that no world exercises proves nothing."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from celadon.core import decide as deciding
from celadon.core.action import Decision
from celadon.core.scene import Scene

TOGETHER = 10.0  # seconds after a fault in which a decision counts as made under it
KINDS = ("crash", "refuse", "lost_answer", "stale_read", "late_put", "host_silent", "uncounted", "limited")
BEFALLS = ("host", "edit", "twin", "unlist", "home", "freeze", "again", "outage", "go_back", "pause", "promote")
Rule = Callable[[Scene], Decision | None]


class Coverage:
    """Filled by the worlds that are told while `watching`."""

    def __init__(self) -> None:
        self.decisions: Counter[str] = Counter()
        self.pairs: Counter[tuple[str, str]] = Counter()
        self.recent: dict[str, float] = {}  # of the world that is told now

    def wrapped(self, rule: Rule) -> Rule:
        def asked(scene: Scene) -> Decision | None:
            decision = rule(scene)
            if decision is not None:
                self.saw(rule.__name__, scene.now)
            return decision

        asked.__name__ = rule.__name__
        return asked

    def saw(self, rule: str, now: float) -> None:
        self.decisions[rule] += 1
        for kind, at in self.recent.items():
            if now - at <= TOGETHER:
                self.pairs[rule, kind] += 1

    @contextmanager
    def watching(self) -> Iterator[None]:
        before = deciding.RULES
        deciding.RULES = tuple(self.wrapped(rule) for rule in before)
        try:
            yield
        finally:
            deciding.RULES = before

    @property
    def unseen(self) -> list[str]:
        return [rule.__name__ for rule in deciding.RULES if rule.__name__ not in self.decisions]

    def table(self) -> str:
        """Rules by faults: how often a rule decided within seconds of that fault."""
        columns = (*KINDS, *BEFALLS)
        width = max(len(rule.__name__) for rule in deciding.RULES)
        lines = [" " * width + "   decided " + " ".join(f"{kind[:7]:>7}" for kind in columns)]
        for rule in deciding.RULES:
            name = rule.__name__
            cells = " ".join(f"{self.pairs[name, kind]:7}" for kind in columns)
            lines.append(f"{name:{width}} {self.decisions[name]:9} {cells}")
        pairs = sum(self.pairs[rule.__name__, kind] > 0 for rule in deciding.RULES for kind in columns)
        lines.append(
            f"{len(self.decisions)} of {len(deciding.RULES)} rules, {pairs} of "
            f"{len(deciding.RULES) * len(columns)} pairs of decision and fault"
        )
        return "\n".join(lines)
