"""Worlds that are kept: one small file each, with the promise that is at stake in it and a sentence of what it is.

A world that broke a promise is shrunk and kept here (`just simulate --seeds 0 1000 --keep`), and told again by every
run of the tests: a number of the draw means another world as soon as the draw learns something new, a file does not.
Others are made by hand, because a piece of safety is needed in just this story (`mutants.json` names them).
"""

from pathlib import Path

import msgspec

from tests.simulation.sentences import PROMISES
from tests.simulation.settings import Setting
from tests.simulation.story import tell

FOLDER = Path(__file__).with_name("worlds")
ATTEMPTS = 200  # worlds that are told at most to find the simplest one


class World(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file. `promise`: the one that was broken here, or that a piece of safety keeps here."""

    what: str
    promise: str
    setting: Setting


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load(name: str) -> World:
    return msgspec.json.decode((FOLDER / f"{name}.json").read_bytes(), type=World)


def keep(setting: Setting, promise: str, what: str, name: str = "") -> Path:
    assert promise in PROMISES, promise
    path = FOLDER / f"{name or f'{promise}-{setting.seed}'}.json"
    raw = msgspec.json.encode(World(what=what, promise=promise, setting=setting))
    path.write_bytes(msgspec.json.format(raw, indent=2) + b"\n")
    return path


def promise_of(line: str) -> str:
    """Of a line of `broken`: a moment, the promise, what was seen."""
    return line.partition(" ")[2].partition(":")[0]


def shrink(setting: Setting, promise: str, attempts: int = ATTEMPTS) -> Setting:
    """The same promise broken in a simpler world: each simplification that still breaks it is kept."""
    left = [attempts]

    def still(simpler: Setting) -> bool:
        left[0] -= 1
        return any(promise_of(line) == promise for line in tell(simpler).broken)

    while True:
        simpler = next((s for s in simpler_than(setting) if left[0] > 0 and s != setting and still(s)), None)
        if simpler is None:
            return setting
        setting = simpler


def simpler_than(setting: Setting) -> list[Setting]:
    """One thing less each: what befalls it, what people press, faults, habits, drivers, hosts."""
    replace = msgspec.structs.replace
    happenings, faults = setting.happenings, setting.faults
    fewer = [happenings[:index] + happenings[index + 1 :] for index in range(len(happenings))]
    simpler = [replace(setting, happenings=less) for less in fewer]
    simpler += [replace(setting, faults=replace(faults, **{name: 0.0})) for name in faults.__struct_fields__]
    plain = Setting(seed=setting.seed)
    habits = [
        name for name in setting.__struct_fields__ if name not in {"seed", "faults", "happenings", "colours", "lag"}
    ]
    if setting.beginning != "plain":
        habits.remove("commands")  # only the command may refuse to open
    simpler += [replace(setting, **{name: getattr(plain, name)}) for name in habits]
    if setting.colours > 1:
        last = setting.colours - 2
        inside = tuple(replace(h, index=min(h.index, last)) for h in happenings)
        simpler.append(replace(setting, colours=setting.colours - 1, happenings=inside))
    return simpler
