"""One running lab: the API, the machines and the data plane in this process, under one folder."""

import contextlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import msgspec

from celadon.lab.api.app import Options, create_app, open_account
from celadon.lab.api.serve import serve
from celadon.lab.blocks import claim_for
from celadon.lab.machines.loopback import LoopbackMachines
from celadon.lab.parts import LabPaths
from celadon.lab.plane.plane import HaproxyPlane
from celadon.lab.store import StateFile
from celadon.lab.switches import Switches

PACE = 0.25  # of the balancer's own check intervals: 2 s, the smallest that Linode allows, becomes half a second


class LabFacts(msgspec.Struct, frozen=True):
    """Where a running lab is found. Written to `lab.json` in its folder; the token opens it, so the file is 0600."""

    url: str
    token: str
    root: str
    ssh_config: str
    private_key: str
    public_key: str


@contextlib.asynccontextmanager
async def running(
    root: Path,
    *,
    port: int = 0,
    state: Path | None = None,
    switches: Switches | None = None,
    options: Options | None = None,
    pace: float = PACE,
) -> AsyncIterator[LabFacts]:
    """A lab until the block ends. What a killed lab left under the same folder is cleaned first.

    `state`: the file that keeps the account; one in `root`, which `lab down` removes, unless it is given.
    """
    paths = LabPaths(root)
    clean(root)
    file = StateFile(state or root / "account.json")
    claim = claim_for(file, root)
    token = _token(root)
    account = open_account(file, token, claim.block, switches=switches)
    machines = LoopbackMachines(paths)

    def translate(address: str) -> str | None:
        here = machines.translate(address)
        return here if here is not None and machines.reachable(here) else None

    plane = HaproxyPlane(paths, translate, account.state.switches, pace=pace)
    app = create_app(account, plane, machines, file=file, options=options or Options(), on_switches=plane.set_switches)
    try:
        served = await serve(app, port=port)
        try:
            yield _facts(root, served.url, token)
        finally:
            await served.close()
    finally:
        await plane.close()
        await machines.close()
        claim.close()


def clean(root: Path) -> None:
    """End the processes that a lab killed under this folder left behind, and only these."""
    paths = LabPaths(root)
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    HaproxyPlane.clean(paths)
    LoopbackMachines.clean(paths)


def _token(root: Path) -> str:
    """The same after a restart: shells that were told it go on working."""
    path = root / "token"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    return path.read_text()


def _facts(root: Path, url: str, token: str) -> LabFacts:
    key_path = root / "id_ed25519"
    if not key_path.exists():
        key = asyncssh.generate_private_key("ssh-ed25519", comment="celadon-lab")
        key_path.touch(mode=0o600)
        key_path.write_bytes(key.export_private_key())
        key_path.with_suffix(".pub").write_bytes(key.export_public_key())
    public = key_path.with_suffix(".pub").read_text().strip()
    return LabFacts(url, token, str(root), str(root / "ssh_config"), str(key_path), public)
