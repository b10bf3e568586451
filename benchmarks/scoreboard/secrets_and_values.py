"""F15 and F16: where secrets turn up, and whether a value that a user may write is ever run."""

import asyncio
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.scoreboard.contender import Asked
from benchmarks.scoreboard.ground import Ground
from benchmarks.scoreboard.results import Cell
from tests.end_to_end.docker_stage import command_lines

INTENDED = 0o600  # of the file on a host that the application's environment is read from
WITHIN = 60.0


async def secrets(ground: Ground) -> dict[str, Cell]:
    """F15: the application's secret and the API token in command lines, outputs, files and `docker inspect`."""
    version, token = ground.fresh(), ground.environ["LINODE_TOKEN"]
    with command_lines(ground.secret) as secret_seen, command_lines(token) as token_seen:
        ran = await ground.deploy(version)
    hits = [f"command line: {line[:60]}" for line in {*secret_seen, *token_seen}]
    hits += ["output"] * any(secret in ran.out for secret in (ground.secret, token))
    hits += await asyncio.to_thread(lambda: [*_on_hosts(ground, token)])
    return {"F15": Cell(text=f"{len(hits)} hits", good=not hits, facts={"hits": hits})}


def _on_hosts(ground: Ground, token: str) -> Iterator[str]:
    for host in ground.lab.hosts:
        for each in host.engine.get("/containers/json", {"all": "1"}):
            found = host.engine.get(f"/containers/{each['Id']}/json")
            found["Config"].pop("Env")  # the application's own environment: where it is meant to be
            if ground.secret in str(found):
                yield f"docker inspect on {host.name}"
        root = ground.lab.folder / host.name
        for path in (*(root / "root").rglob("*"), *(root / "var" / "lib" / "celadon").rglob("*")):
            open_to_others = path.is_file() and stat.S_IMODE(path.stat().st_mode) != INTENDED
            if open_to_others and any(secret.encode() in path.read_bytes() for secret in (ground.secret, token)):
                yield f"{path.name} on {host.name}"


async def injection(ground: Ground) -> dict[str, Cell]:
    """F16: a value that several languages would run, in each field that a user may write."""
    ran_it: list[str] = []
    with tempfile.TemporaryDirectory(prefix="celadon-canary-", dir="/tmp") as name:  # /tmp is the hosts', too
        folder = Path(name)
        for field in ("version", "greeting", "health"):
            value = hostile(folder / field)
            version = value if field == "version" else ground.fresh()
            asked = {
                "version": Asked(),
                "greeting": Asked(greeting=value),
                "health": Asked(health=f"/healthz{value}"),
            }[field]
            await ground.run(ground.contender.deploy(ground, version, asked), WITHIN)
            await asyncio.sleep(0.5)
            ran_it += await asyncio.to_thread(_left, folder, field)
            if await ground.wrong(ground.live, within=5):
                await ground.mended()
    fields = {each.partition(":")[0] for each in ran_it}
    text = f"run from {len(fields)} of 3 fields" if fields else "0 of 3 fields"
    return {"F16": Cell(text=text, good=not fields, remark=", ".join(sorted(ran_it)), facts={"ran": ran_it})}


def _left(folder: Path, field: str) -> list[str]:
    return [f"{field}: {path.suffix[1:]}" for path in folder.glob(f"{field}.*")]


def hostile(canary: Path) -> str:
    """One that a shell runs unquoted or in double quotes, one for single quotes, one for Jinja."""
    return (
        f"$(touch {canary}.shell)'; touch {canary}.quotes; '"
        f"{{{{ lookup('ansible.builtin.pipe', 'touch {canary}.jinja') }}}}"
    )
