"""Safety, taken away piece by piece: each mutant must break a promise that the unchanged code keeps.

`mutant_list.py` says what is taken away; `mutants.json` says of each which promise kills it, and in which world.
A mutant that survives means that a promise, a fault or a world is missing, and not that the rule is.

python -m tests.simulation.mutants                   every mutant in the world that kills it
python -m tests.simulation.mutants --hunt 400        search for such worlds where there is none, and write the list
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from celadon.core import decide as deciding
from celadon.core.action import Decision
from celadon.core.scene import Scene
from tests.simulation import kept, small_model
from tests.simulation.search import Broken
from tests.simulation.settings import draw
from tests.simulation.story import tell

LIST = Path(__file__).with_name("mutants.json")
Rule = Callable[[Scene], Decision | None]


class Mutant(msgspec.Struct, frozen=True):
    """`where`.`name` becomes `instead` while it lives. `rule`: what it takes away, by its name in the code."""

    rule: str
    what: str
    where: Any
    name: str
    instead: Any

    @contextmanager
    def alive(self) -> Iterator[None]:
        before = self.where.__dict__[self.name]
        setattr(self.where, self.name, self.instead)
        try:
            yield
        finally:
            setattr(self.where, self.name, before)


class Killed(msgspec.Struct, frozen=True):
    """One line of the list."""

    rule: str
    mutant: str
    promise: str
    seed: int | str  # a world of the draw; "world NAME": one that is kept; "small WISH": the small model; "test NAME"


def without(rule: Rule) -> Mutant:
    """One rule of the list less."""
    return replaced(rule, None, f"no {rule.__name__}")


def replaced(rule: Rule, instead: Rule | None, what: str) -> Mutant:
    rules = tuple(instead if other is rule else other for other in deciding.RULES)
    left = tuple(other for other in rules if other is not None)
    return Mutant(f"decide.{rule.__name__}", what, deciding, "RULES", left)


def broken(seed: int | str) -> str:
    """The first promise that breaks in this world; empty: all are kept."""
    kind, _, name = str(seed).partition(" ")
    if kind == "small":
        return _broken_small(name)
    if kind == "test":
        return _failed(name)
    setting = kept.load(name).setting if kind == "world" else draw(int(seed))
    try:
        found = tell(setting).broken
    except Exception as error:  # noqa: BLE001 - whatever it dies of, it was noticed
        return f"{type(error).__name__}: {error}"
    return kept.promise_of(found[0]) if found else ""


def _failed(test: str) -> str:
    """A test of the tables, by its dotted name: for what is about no promise, or is doubled by what keeps it."""
    module, _, name = test.rpartition(".")
    try:
        getattr(importlib.import_module(module), name)()
    except (AssertionError, pytest.fail.Exception):
        return "a test"
    return ""


def _broken_small(wish: str) -> str:
    try:
        return "deadlines" if small_model.explore(wish, crashes=0).stuck else ""
    except Broken as error:
        return str(error).partition(":")[0]


def killed_in(mutant: Mutant, seed: int | str) -> str:
    """The promise that sees it there; empty: nobody does."""
    with mutant.alive():
        return broken(seed)


def hunt(mutant: Mutant, seeds: list[int | str], sound: dict[int | str, bool]) -> Killed | None:
    """The first world that sees the difference. `sound`: in which nothing breaks without it."""
    for seed in seeds:
        promise = killed_in(mutant, seed)
        if promise and sound.setdefault(seed, True) and not broken(seed):
            return Killed(mutant.rule, mutant.what, promise, seed)
        if promise:
            sound[seed] = False
    return None


def listed() -> dict[str, Killed]:
    if not LIST.exists():
        return {}
    return {line.mutant: line for line in msgspec.json.decode(LIST.read_bytes(), type=list[Killed])}


def write(lines: dict[str, Killed], mutants: tuple[Mutant, ...]) -> None:
    kept = [lines[mutant.what] for mutant in mutants if mutant.what in lines]
    LIST.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n")


def main() -> int:
    from tests.simulation.mutant_list import MUTANTS, TESTED  # noqa: PLC0415 - it is made of this module's words

    parser = argparse.ArgumentParser()
    parser.add_argument("--hunt", type=int, default=0, metavar="WORLDS", help="search so many worlds")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--missing", action="store_true", help="only those that nobody has killed yet, last first")
    parser.add_argument("--only", default="", help="mutants whose words contain this")
    wanted = parser.parse_args()
    lines, sound, survived = listed(), {}, []  # type: dict[str, Killed], dict[int | str, bool], list[str]
    by_hand = [f"world {name}" for name in kept.names()]
    worlds: list[int | str] = [*by_hand, *range(wanted.first, wanted.first + wanted.hunt), "small go_back"]
    chosen = [mutant for mutant in MUTANTS if wanted.only in mutant.what]
    if wanted.missing:
        chosen = [mutant for mutant in reversed(chosen) if mutant.what not in lines]
    for mutant in chosen:
        line = lines.get(mutant.what)
        promise = killed_in(mutant, line.seed) if line is not None else ""
        if not promise and wanted.hunt:
            line = hunt(mutant, [f"test {TESTED[mutant.what][0]}"] if mutant.what in TESTED else worlds, sound)
            promise = line.promise if line is not None else ""
        if line is not None and promise:
            lines[mutant.what] = msgspec.structs.replace(line, promise=promise, rule=mutant.rule)
        else:
            survived.append(mutant.what)
            lines.pop(mutant.what, None)
        say(
            f"{mutant.rule}: {mutant.what}: {f'{promise}, world {line.seed}' if line and promise else 'SURVIVED'}",
            flush=True,
        )
        if wanted.hunt:
            write(lines, MUTANTS)
    say(f"{len(chosen)} mutants, {len(survived)} survived: {', '.join(survived)}")
    return bool(survived)


say = print  # what this is for

if __name__ == "__main__":
    sys.exit(main())
