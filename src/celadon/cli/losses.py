"""What a release would lose, predicted from how it is started: settled question 4 of the contract. Pure.

The figures are those of the servers' own documentation, and were measured: gunicorn cuts requests 30 s after SIGTERM,
uvicorn waits for ever, hypercorn 3 s; a shell as PID 1 ignores SIGTERM and is killed.
"""

import itertools
import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from celadon.config.detect import development_server
from celadon.config.dockerfile import is_shell
from celadon.config.model import Config
from celadon.config.values import say_duration

Grade = Literal["ok", "warning", "failed"]
GRACE = {"gunicorn": 30.0, "hypercorn": 3.0}  # seconds from SIGTERM until open requests are cut
GRACE_FLAGS = {
    "gunicorn": ("--graceful-timeout",),
    "uvicorn": ("--timeout-graceful-shutdown",),
    "hypercorn": ("--graceful-timeout",),
}
NO_GRACE = {"waitress-serve": "waitress", "waitress": "waitress"}  # as PID 1 it ignores SIGTERM


class Finding(msgspec.Struct, frozen=True):
    """One thing that was checked."""

    name: str
    grade: Grade
    text: str
    hint: str = ""


def predict(config: Config, command: Sequence[str], *, origin: str, shell_form: bool) -> list[Finding]:
    """`command`: what will be PID 1 (docker) or the service (venv); `origin`: where that was read."""
    words = tuple(command)
    if not words:
        text = "what the image starts is not known here: no command in celadon.toml, no Dockerfile in this folder"
        return [Finding("start", "warning", text, 'command = ["gunicorn", …] in celadon.toml says it')]
    found = [
        _shell(words, config, shell_form=shell_form),
        _development(words),
        _stop(words, config),
        _port(words, config),
    ]
    bad = [finding for finding in found if finding is not None]
    return bad or [Finding("start", "ok", f"{server(words) or words[0]} ({origin}): nothing to say against it")]


def server(words: Sequence[str]) -> str | None:
    """The server that the command runs, also as `python -m uvicorn`."""
    known = {*GRACE, *GRACE_FLAGS, *NO_GRACE, "granian", "daphne"}
    names = [word.rpartition("/")[2] for word in words[:6]]
    return next((name for name in names if name in known), None)


def _shell(words: tuple[str, ...], config: Config, *, shell_form: bool) -> Finding | None:
    if not shell_form and not is_shell(list(words)):
        return None
    seconds = config.rollout.stop_timeout
    if config.runtime == "docker":
        text = f"a shell is PID 1 and passes no SIGTERM on: each stop lasts {say_duration(seconds)} and ends in SIGKILL"
        return Finding("pid 1", "warning", text, 'use the list form: CMD ["gunicorn", …]; or start the line with exec')
    return Finding("pid 1", "warning", "a shell passes no SIGTERM on to the server", "start the line with exec")


def _development(words: tuple[str, ...]) -> Finding | None:
    told = development_server(words)
    if told is None and "--reload" not in words:
        return None
    text = told or "--reload restarts on its own whenever a file changes"
    return Finding("server", "warning", f"{text}: open requests are lost when it is stopped", "use gunicorn or uvicorn")


def _stop(words: tuple[str, ...], config: Config) -> Finding | None:
    name = server(words)
    allowed = config.rollout.stop_timeout.total_seconds()
    if name in NO_GRACE and config.runtime == "docker":
        text = f"{NO_GRACE[name]} ignores SIGTERM as PID 1; Celadon stops it only when it is quiet, by SIGKILL"
        return Finding("stop", "warning", text, "gunicorn and uvicorn end by themselves")
    if name is None:
        return None
    grace = _grace(words, name)
    if grace is not None and grace >= allowed:
        text = f"{name} takes up to {grace:g} s to end, and is killed after {allowed:g} s (rollout.stop_timeout)"
        return Finding("stop", "warning", text, f'rollout.stop_timeout = "{grace + 10:.0f}s"')
    if grace is None and name in ("uvicorn", "granian"):
        text = f"{name} waits for open requests without a limit; streams are cut after {allowed:g} s"
        return Finding("stop", "ok", text)
    return None


def _grace(words: tuple[str, ...], name: str) -> float | None:
    """Seconds until the server itself gives up on open requests; None: never."""
    for flag in GRACE_FLAGS.get(name, ()):
        for word, following in itertools.pairwise([*words, ""]):
            value = following if word == flag else word.removeprefix(f"{flag}=")
            if re.fullmatch(r"\d{1,6}(\.\d+)?", value) and word.startswith(flag):
                return float(value)
    return GRACE.get(name)


def _port(words: tuple[str, ...], config: Config) -> Finding | None:
    text = " ".join(words)
    loopback = re.search(r"(?:127\.0\.0\.1|localhost)", text)
    if loopback:
        why = f"it listens on {loopback[0]}, where no NodeBalancer reaches it"
        return Finding("address", "failed", why, "use {host}: the private address, or 0.0.0.0 in a container")
    if config.runtime == "venv" and "{port}" not in text:
        why = "nothing tells it its port: it must read PORT, or it is never found healthy"
        return Finding("port", "warning", why, 'like command = ["gunicorn", "-b", "{host}:{port}", "app:app"]')
    return None
