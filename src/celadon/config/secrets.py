"""Where secrets come from: the environment, `.celadon/secrets`, `secrets.command`, in this order.

Values leave here only inside `Secret`. Errors name places and names, never values.
"""

import asyncio
import hashlib
import hmac
import io
import os
import signal
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from celadon.config.dotenv import parse_dotenv
from celadon.config.errors import ConfigError, show_line, show_list
from celadon.config.load import read_text
from celadon.config.model import Config
from celadon.config.special import MOST_ENV
from celadon.core.errors import Refused
from celadon.core.secret import Secret

COMMAND_DEADLINE = timedelta(seconds=60)  # a vault may ask a person for a touch
MOST_OUTPUT = 1024 * 1024  # bytes


def needed(config: Config) -> dict[str, str]:
    """The names of the secrets that a rollout needs, each with the key that asks for it."""
    names = dict.fromkeys(config.env.secret, "env.secret")
    if config.registry is not None:
        names.setdefault(config.registry.password, "registry.password")
    return names


async def resolve(
    config: Config,
    *,
    root: Path,
    environ: Mapping[str, str],
    only: Iterable[str] | None = None,
    deadline: timedelta = COMMAND_DEADLINE,
) -> dict[str, Secret]:
    """The value of each needed secret (or of those in `only`). The command runs only for what is still missing.

    Raises `Refused` naming the first secret without a value and every place that was looked at.
    """
    names = needed(config)
    if only is not None:
        names = {name: names.get(name, "asked for") for name in only}
    found = {name: environ[name] for name in names if name in environ}
    looked = ["environment"]
    if not names.keys() <= found.keys():
        path = root / ".celadon" / "secrets"
        looked.append(_take(read_secrets_file(path), names, found, ".celadon/secrets"))
    if not names.keys() <= found.keys() and config.secrets is not None:
        printed = await run_command(config.secrets.command, cwd=root, environ=environ, deadline=deadline)
        looked.append(_take(printed, names, found, "secrets.command"))
    for name, key in names.items():
        if name not in found:
            raise Refused(
                f"secret {show_line(name)} ({key}) has no value",
                hint=f"add {show_line(name)}=… to .celadon/secrets, or map it from your CI's secret store",
                where=key,
                details=(f"looked in: {', '.join(looked)}",),
            )
        if len(found[name].encode("utf-8", "surrogateescape")) > MOST_ENV or "\0" in found[name]:
            hint = f"an environment takes {MOST_ENV:,} bytes a variable and no NUL: keep large secrets in a file"
            raise Refused(f"secret {show_line(name)} ({key}) fits no environment", hint=hint, where=key)
    return {name: Secret(found[name]) for name in names}


def _take(offered: Mapping[str, str] | None, names: Iterable[str], found: dict[str, str], place: str) -> str:
    """Adds what `offered` has for the names still missing. Returns what to tell about the place."""
    if offered is None:
        return f"{place} (not there)"
    for name in names:
        if name in offered:
            found.setdefault(name, offered[name])
    return f"{place} ({f'holds {show_list(offered)}' if offered else 'empty'})"


def read_secrets_file(path: Path) -> dict[str, str] | None:
    """The names and values in `.celadon/secrets`; None where there is no such file. Refuses one others may read."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(
            ".celadon/secrets", "", f"cannot be read: {error.strerror}", hint="check its owner"
        ) from None
    if not stat.S_ISREG(mode):
        raise ConfigError(".celadon/secrets", "", "is not a file", hint="it has NAME=value lines")
    if stat.S_IMODE(mode) & 0o077:
        reason = f"others may read it (mode {stat.S_IMODE(mode):04o})"
        raise ConfigError(".celadon/secrets", "", reason, hint="chmod 600 .celadon/secrets")
    return parse_dotenv(read_text(path), file=".celadon/secrets")


async def run_command(
    argv: tuple[str, ...], *, cwd: Path, environ: Mapping[str, str], deadline: timedelta
) -> dict[str, str]:
    """What the command prints, parsed. Its stderr is the caller's: messages of a vault are for the person."""
    program = show_line(argv[0])
    # A pipe of our own: with asyncio's, a command's orphan that keeps it open would keep `wait` from ending.
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb", buffering=0) as pipe:
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                cwd=cwd,
                env=dict(environ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=theirs,
                start_new_session=True,  # ends with its children; has no terminal to ask at
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL in the environment
            hint = "it is run in the project folder, without a shell"
            why = getattr(error, "strerror", None) or "cannot be started"
            raise Refused(f"secrets.command: {program}: {why}", hint=hint, where="secrets.command") from None
        finally:
            os.close(theirs)
        try:
            async with asyncio.timeout(deadline.total_seconds()):
                output = await _read(pipe)
                await process.wait()
        except TimeoutError:
            reason = f"secrets.command: {program} did not end within {deadline.total_seconds():g} s"
            hint = "run it yourself: does it wait for an answer?"
            raise Refused(reason, hint=hint, where="secrets.command") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
    if process.returncode != 0:
        reason = f"secrets.command: {program} failed with exit code {process.returncode}"
        raise Refused(reason, hint="run it yourself in the project folder", where="secrets.command")
    try:
        text = output.decode()
    except UnicodeDecodeError:
        raise ConfigError(
            "secrets.command", "", "prints something that is not UTF-8", hint="NAME=value lines"
        ) from None
    return parse_dotenv(text, file="secrets.command")


async def _read(pipe: io.FileIO) -> bytes:
    """Everything that comes out of the pipe, within bounds."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        output = bytearray()
        while part := await reader.read(65536):
            output += part
            if len(output) > MOST_OUTPUT:
                reason = f"secrets.command: prints more than {MOST_OUTPUT:,} bytes"
                raise Refused(reason, hint="it prints NAME=value lines and nothing else", where="secrets.command")
        return bytes(output)
    finally:
        transport.close()


def fingerprint(secret: Secret, key: bytes) -> str:
    """Tells whether two secrets are equal to those who have the key, and nothing to those who have not.

    HMAC-SHA256, 64 bits of it: enough to see a change, and a guess cannot be checked without the key.
    """
    value = secret.reveal().encode("utf-8", "surrogateescape")
    return hmac.new(key, value, hashlib.sha256).hexdigest()[:16]
