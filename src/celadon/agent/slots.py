"""One look at this host: who is in each slot, whether it answers, and how many connections it has."""

from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from celadon.agent import bind, counting, fence, first_boot, paths, probe, runtimes, settings, supervisor

AT_ONCE = 8  # slots asked at the same time
NEWS_WITHIN = 0.05  # seconds; the kernel takes a few thousandths, more where the processor is busy

_counter = counting.Counter()
_counting = threading.Lock()  # looks may overlap


def look(app: str, question: dict[str, Any]) -> dict[str, Any]:
    """`HostFacts` without the host's name."""
    present = runtimes.present(app)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        slots = list(pool.map(lambda one: observe(app, one, question["probe"], present), question["slots"]))
    return {
        "boot_id": supervisor.boot_id(),
        "utc": time.time(),
        "disk_free": shutil.disk_usage(str(_existing(paths.app_dir(app)))).free,
        "fence": fence.read(app),
        "settings": settings.present(app),
        "artifacts": sorted({artifact for runtime in present.values() for artifact in runtime.artifacts(app)}),
        "slots": slots,
        "first_boot": first_boot.trouble(),
    }


def observe(app: str, question: dict[str, Any], how: dict[str, Any], present: dict[str, Any]) -> dict[str, Any]:
    """`SlotFacts`. A probe counts for a replica that was there before and owned the port after it."""
    slot = question["slot"]
    name, seen = _facts(app, question, present)
    probed: dict[str, Any] | None = None
    if question["probe"] and _expected(seen, question["release"]):
        address, port = bind.resolve(slot["address"]), paths.port_number(slot["port"])
        probed = probe.ask(address, port, how)
        before = seen["replica"]
        name, seen = _facts(app, question, present)
        if not _same(before, seen, question["release"], passed=probed["ok"]):
            probed = None
    opened: tuple[int | None, int | None] = (None, None)
    if question["count"]:
        opened = _count(app, slot, name, seen, probed=bool(question["probe"]))
    return {
        "key": f"{slot['host']}:{slot['port']}",
        "replica": seen["replica"],
        "foreign": seen["foreign"],
        "remedy": seen["remedy"],
        "listening": seen["listening"],
        "open": opened[0],
        "opened": opened[1],
        "probe": probed,
        "own": probe.made(bind.resolve(slot["address"]), paths.port_number(slot["port"])),
    }


def _facts(app: str, question: dict[str, Any], present: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """(runtime, facts) by the runtime that knows most: one with a running replica, then one that names the occupant.

    The venv runtime sees a published container only as a process that forwards its port.
    """
    found = [(name, runtime.facts(app, question)) for name, runtime in present.items()]

    def rank(one: tuple[str, dict[str, Any]]) -> Any:
        replica = one[1]["replica"]
        return bool(replica and replica["running"]), one[1]["foreign"] is not None, bool(replica), one[0] == "docker"

    return max(found, key=rank)


def _existing(path: Path) -> Path:
    """The folder itself or the nearest above it: before the first release there is none."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _expected(seen: dict[str, Any], release: str | None) -> bool:
    """Whether a probe would ask the one that is meant: a release by its replica, or whoever is there."""
    if release is None:
        return bool(seen["listening"])
    replica = seen["replica"]
    return bool(replica and replica["running"] and replica["release"] == release and seen["foreign"] is None)


def _same(before: Any, seen: dict[str, Any], release: str | None, *, passed: bool) -> bool:
    if release is not None and passed and not (_expected(seen, release) and seen["listening"]):
        return False
    after = seen["replica"]
    return (before and before["id"]) == (after and after["id"]) or not passed


def _count(
    app: str, slot: dict[str, Any], name: str, seen: dict[str, Any], *, probed: bool
) -> tuple[int | None, int | None]:
    """After a probe its own end is awaited: told later, it would look like a connection of somebody else."""
    address, port = bind.resolve(slot["address"]), paths.port_number(slot["port"])
    key = f"{app}/{slot['host']}:{port}"
    replica = seen["replica"]
    inner = settings.release(app, replica["release"]).get("container_port") if replica else None
    with _counting:
        _counter.watch(key, address, port, seen["pid"], name, seen.get("container_port") or inner or None)
        if probed:
            _counter.await_news(key, NEWS_WITHIN)
        return _counter.count(key)
