"""The runtime as another process: under another Python, another user, or on another host, asked line by line."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

PROGRAM = """
import json, sys
from celadon.agent import counting
from celadon.agent.docker import Docker
docker = Docker(resolve=lambda address: address, environment=lambda app, placement: {"PORT": "8000"})
counter = counting.Counter()
def count(app, slot):
    facts = docker.facts(app, {"slot": slot})
    counter.watch("k", slot["address"], slot["port"], facts["pid"], "docker", facts["container_port"])
    return counter.count("k")
known = {name: getattr(docker, name) for name in ("facts", "put_artifact", "start", "stop", "tail")}
known["count"] = count
print("ready", flush=True)
for line in sys.stdin:
    name, arguments = json.loads(line)
    print(json.dumps(known[name](*arguments)), flush=True)
"""


class Remote:
    """One such process; `command` starts Python with `PROGRAM`."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._line() == "ready\n"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def ask(self, name: str, *arguments: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, arguments]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._line())

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()
