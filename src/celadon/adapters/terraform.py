"""`terraform output -json celadon`, run in the project's own folder: who the hosts are. Changes nothing."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from celadon.adapters.terraform_run import first_error, program
from celadon.core.errors import Refused
from celadon.core.release import Seconds

WITHIN: Seconds = 60.0  # remote state may be slow
LARGEST = 4 * 1024 * 1024
NO_OUTPUT = 'Output "celadon" not found'
"""Terraform's and OpenTofu's words for a state that has none. Any other failure to read it is no reason to guess."""


async def output(folder: Path, environ: Mapping[str, str] = os.environ) -> str:
    """The text. Raises Refused with Terraform's own first line."""
    try:
        terraform = program(environ)
    except Refused as error:
        hint = "install one of them, or name a saved `terraform output -json` file"
        raise Refused(f"hosts.terraform: {error.message}", hint=hint) from None
    hint = f"{Path(terraform).name} -chdir={folder.name} apply"
    try:
        process = await asyncio.create_subprocess_exec(
            terraform, f"-chdir={folder}", "output", "-json", "-no-color", "celadon",
            env={**environ, "TF_IN_AUTOMATION": "1", "TF_INPUT": "0"}, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    except OSError as error:
        raise Refused(
            f"hosts.terraform: {terraform} cannot be run: {error.strerror}",
            hint="install it, or name a saved `terraform output -json` file",
        ) from None
    try:
        async with asyncio.timeout(WITHIN):
            out, told = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise Refused(f"hosts.terraform: terraform output did not end within {WITHIN:g} s", hint=hint) from None
    if process.returncode:
        reason = first_error(told.decode("utf-8", "replace"))
        raise Refused(f"hosts.terraform: {reason}", hint=hint, where=folder.name)
    return out[:LARGEST].decode("utf-8", "replace")
