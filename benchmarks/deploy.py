"""What one deploy asks of the hosts and of the API, its time and memory: with 2 hosts a colour and with 50.

python -m benchmarks.deploy [MANY]

Each stage deploys twice to fill both colours; the third deploy is measured, as the usual one is. Settle, bake and
polls are the lab's pace for both sizes. Beside the wall time stands what only the machine costs: the same commands
and applications started with no Celadon between.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.counted import Counted
from benchmarks.figures import Figure, show
from benchmarks.stages import LightStage, estate

FEW, MANY = 2, 50
CALLS_A_NODE, REQUESTS_A_HOST = 8, 8


async def usual_deploy(hosts: int) -> Counted:
    with tempfile.TemporaryDirectory(prefix="celadon-bench-") as folder:
        async with LightStage(Path(folder), estate(hosts)) as stage:
            await stage.deploy("v1")
            await stage.deploy("v2")
            return await stage.deploy("v3")


def machine_alone(count: int) -> float:
    """Seconds to start so many Python processes at once and see each of them at work: no SSH, no Celadon."""
    began = time.perf_counter()
    processes = [
        subprocess.Popen([sys.executable, "-c", "import json, socket, subprocess"], stdin=subprocess.DEVNULL)
        for _ in range(count)
    ]
    for process in processes:
        process.wait()
    return time.perf_counter() - began


def figures(many: int = MANY) -> list[Figure]:
    few_deploy, few_alone = asyncio.run(usual_deploy(FEW)), _processes(FEW)
    many_deploy, many_alone = asyncio.run(usual_deploy(many)), _processes(many)
    seconds = (
        f"{many_deploy.seconds:.1f} s and {few_deploy.seconds:.1f} s, of them the deployer's own processor time "
        f"{many_deploy.processor:.1f} s and {few_deploy.processor:.1f} s; as many Python processes as agents, "
        f"supervisors and replicas together, started by hand: {many_alone:.1f} s and {few_alone:.1f} s"
    )
    ratio = many_deploy.seconds / few_deploy.seconds
    return [
        *_requests(few_deploy),
        *_calls(few_deploy, many_deploy, many),
        *_memory(few_deploy, many_deploy, many),
        Figure(f"deploy to {many} hosts a colour, by the time of one to {FEW}", ratio, 1.5, "x", seconds),
    ]


def _processes(hosts: int) -> float:
    """An agent on every host of both colours, and on the candidate's a supervisor and a replica."""
    return machine_alone(2 * hosts + 2 * hosts)


def _requests(deploy: Counted) -> list[Figure]:
    hosts = list(deploy.hosts.values())
    home = max(host.store for host in hosts)
    return [
        Figure(
            "deploy: SSH connections a host, each with one agent process", max(host.connections for host in hosts), 1
        ),
        Figure(
            "deploy: state-changing requests a host, at most",
            max(host.effects for host in hosts),
            REQUESTS_A_HOST,
            note=", ".join(f"{count} {name}" for name, count in sorted(deploy.operations.items()) if name in EFFECTS)
            + f" on {len(hosts)} hosts",
        ),
        Figure("deploy: reads (looks, warm-up) a host, at most", max(host.reads for host in hosts), None),
        Figure("deploy: lease, intent and journal requests to the home", home, None),
    ]


EFFECTS = ("put_artifact", "put_settings", "prune", "raise_fence", "start", "stop")


def _calls(few: Counted, many: Counted, hosts: int) -> list[Figure]:
    """Nodes are both colours' on one port. Two sizes give the price of a node and the constant."""
    nodes = 2 * FEW, 2 * hosts
    slope = (many.calls.total - few.calls.total) / (nodes[1] - nodes[0])
    constant = few.calls.total - slope * nodes[0]

    def split(deploy: Counted) -> str:
        return f"{deploy.calls.lists} lists, {deploy.calls.reads} reads, {deploy.calls.puts} PUTs"

    note = f"{few.calls.total} with {nodes[0]} nodes ({split(few)}), {many.calls.total} with {nodes[1]} ({split(many)})"
    return [
        Figure("deploy: API calls a node and port", slope, CALLS_A_NODE, note=note),
        Figure("deploy: API calls beside those, the constant", constant, None),
    ]


def _memory(few: Counted, many: Counted, hosts: int) -> list[Figure]:
    return [
        Figure(f"deployer's peak memory with {2 * FEW} hosts", few.peak, 100, "MiB"),
        Figure(f"deployer's peak memory with {2 * hosts} hosts ({hosts} a colour)", many.peak, 200, "MiB"),
    ]


if __name__ == "__main__":
    show("a deploy", figures(int(sys.argv[1]) if len(sys.argv) > 1 else MANY))
