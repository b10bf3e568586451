"""From nothing to https, as the how-to says it: its commands, typed in their order at a terminal, on a lab."""

import asyncio
import os
import pty
import re
import signal
import sys
from pathlib import Path

import pytest
from tests.docs.pages import DOCS, blocks
from tests.infra.rig import Tools
from tests.infra.scene import Scene, scene, suited

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

WITHIN = 300  # seconds for one command
HOW_TO = DOCS / "how-to"
ANSWERS = {b"[y/N]": b"y\n", b"Enter a value:": b"yes\n"}
COLOUR = re.compile(rb"\x1b\[[0-9;]*m")
CERTBOT = """\
#!/bin/sh
exec openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj "/CN=example.com" \
  -keyout privkey.pem -out fullchain.pem
"""
ELSEWHERE = {
    # Not typed here, and why.
    "echo one > probe": "for the store below",
    "aws s3api put-object": "the lab has no Object Storage",
    "terraform -chdir=infra workspace new staging": "test_examples.py applies examples/infra-https with both files",
    "terraform -chdir=infra apply -var-file=staging.tfvars": "as above",
}


async def test_every_command_of_the_page_works_in_its_order(tools: Tools, tmp_path: Path) -> None:
    async with scene(tools, tmp_path) as here:
        (tmp_path / "bin").mkdir()
        certbot = tmp_path / "bin" / "certbot"  # it would ask Let's Encrypt; the files are what it leaves
        certbot.write_text(CERTBOT)
        certbot.chmod(0o755)
        shell = Shell(here, tmp_path / "bin")

        said: dict[str, str] = {}
        for block in blocks(HOW_TO / "infrastructure.md", "console", "hcl"):
            if block.language == "hcl":
                into_the_module(here, block.text)
                continue
            for command in typed(block.text):
                if command.endswith(" destroy"):
                    await renewed(shell, said)
                said[command] = await shell.types(command)
                if command == "celadon init --terraform":
                    suited(here)
                    (here.project / "VERSION").write_text("v1\n")
        assert "0 problems" in said["celadon check --infra"] or "all is well" in said["celadon check --infra"]
        assert "v1" in said["celadon deploy v1"]
        assert "443" in said["celadon tls push --certificate fullchain.pem --key privkey.pem"]
        assert (here.project / "hosts.json").read_text().startswith("{")
        assert "green is new: hello-green-g2-1" in said["celadon infra renew green"]
        assert await here.labels() == []
        assert (await here.api("GET", "/v4/domains"))["data"] == []


async def renewed(shell: "Shell", said: dict[str, str]) -> None:
    """The page that the how-to leads to, before all of it is destroyed."""
    for block in blocks(HOW_TO / "renew-machines.md", "console"):
        for command in typed(block.text):
            said[command] = await shell.types(command)


def typed(text: str) -> list[str]:
    commands = [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
    return [command for command in commands if not command.startswith(tuple(ELSEWHERE))]


def into_the_module(here: Scene, text: str) -> None:
    """What the page says to write into the module's block; a backend in Object Storage is not the lab's."""
    if "backend" in text:
        return
    main = here.infra / "main.tf"
    main.write_text(re.sub(r'(module "celadon" \{\n)', lambda found: found[1] + text, main.read_text(), count=1))


class Shell:
    """A terminal for one command after the other: questions are answered with yes."""

    def __init__(self, here: Scene, programs: Path) -> None:
        self._here = here
        path = (str(programs), str(Path(sys.executable).parent), here.environ["PATH"])
        asks = {name: value for name, value in here.environ.items() if name not in ("TF_INPUT", "TF_IN_AUTOMATION")}
        names = {
            f"GIT_{role}_{what}": "me@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        self._environ = {**asks, **names, "PATH": os.pathsep.join(path)}

    async def types(self, command: str) -> str:
        mine, its = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            "bash", "-euo", "pipefail", "-c", command, cwd=self._here.project, env=self._environ,
            stdin=its, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        said = b""
        try:
            assert process.stdout is not None
            async with asyncio.timeout(WITHIN):
                while chunk := await process.stdout.read(65536):
                    said = COLOUR.sub(b"", said + chunk)
                    answer = next((its for asks, its in ANSWERS.items() if said.rstrip(b" ").endswith(asks)), None)
                    if answer is not None:
                        os.write(mine, answer)
                await process.wait()
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError(f"$ {command}\ndid not end within {WITHIN} s:\n{said.decode()[-4000:]}") from None
        finally:
            os.close(mine)
            os.close(its)
        text = said.decode(errors="replace")
        assert process.returncode == 0, f"$ {command}\n{text[-4000:]}"
        return text
