"""The plane and the machines are what the API asks for: the type checker says so, and the names say it again."""

from celadon.lab.machines import LoopbackMachines
from celadon.lab.parts import DataPlane, Machines
from celadon.lab.plane import HaproxyPlane

PLANE: type[DataPlane] = HaproxyPlane
MACHINES: type[Machines] = LoopbackMachines


def public(protocol: type) -> set[str]:
    return {name for name in vars(protocol) if not name.startswith("_")}


def test_every_part_has_all_that_is_asked_of_it() -> None:
    assert public(DataPlane) <= set(dir(PLANE))
    assert public(Machines) <= set(dir(MACHINES))
