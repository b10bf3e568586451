"""What a Dockerfile says about the container it makes: ports and what PID 1 will be. Pure; expands nothing."""

import json
import re
import shlex

import msgspec

MOST = 256 * 1024  # characters that are looked at


class Start(msgspec.Struct, frozen=True):
    """What a container starts. In shell form `sh` is PID 1, and it passes no signal on."""

    words: tuple[str, ...]
    shell_form: bool


class Dockerfile(msgspec.Struct, frozen=True):
    ports: tuple[int, ...] = ()
    start: Start | None = None  # None: the base image's own


def parse_dockerfile(text: str) -> Dockerfile:
    """The last stage only: that is the image. Lines that are not understood are passed over."""
    ports: list[int] = []
    entrypoint: Start | None = None
    command: Start | None = None
    for name, rest in _instructions(text[:MOST]):
        match name:
            case "FROM":
                ports, entrypoint, command = [], None, None
            case "EXPOSE":
                found = (re.fullmatch(r"(\d{1,5})(?:/tcp)?", word) for word in rest.split())
                ports += [int(port[1]) for port in found if port and 0 < int(port[1]) < 65536]
            case "CMD":
                command = _start(rest)
            case "ENTRYPOINT":
                entrypoint, command = _start(rest), None  # an ENTRYPOINT resets the CMD before it
    return Dockerfile(tuple(ports), _joined(entrypoint, command))


def _instructions(text: str) -> list[tuple[str, str]]:
    """Instruction and the rest of its line: comments dropped, continued lines joined, heredocs left out."""
    found: list[tuple[str, str]] = []
    pending, end = "", ""
    for line in text.splitlines():
        if end:
            end = "" if line.strip() == end else end
        elif line.lstrip().startswith("#"):
            continue
        elif line.rstrip().endswith("\\"):
            pending += line.rstrip()[:-1] + " "
        else:
            name, _, rest = (pending + line).strip().partition(" ")
            pending = ""
            heredoc = re.search(r"<<-?[\"']?(\w+)", rest)
            end = heredoc[1] if heredoc else ""
            found += [(name.upper(), rest.strip())] if name else []
    return found


def _start(rest: str) -> Start:
    try:
        words = json.loads(rest) if rest.startswith("[") else None
    except (ValueError, RecursionError):  # Docker too takes a list that is not JSON for a shell line
        words = None
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return Start(tuple(words), shell_form=is_shell(words))
    line = split(rest)
    # `exec` puts the program in the shell's place: it is PID 1 then, as in a list.
    return Start(line[1:], shell_form=False) if line[:1] == ("exec",) else Start(line, shell_form=True)


def _joined(entrypoint: Start | None, command: Start | None) -> Start | None:
    if entrypoint is None or entrypoint.shell_form:  # a shell-form ENTRYPOINT ignores CMD
        return entrypoint or command
    return Start(entrypoint.words + (command.words if command else ()), shell_form=False)


def is_shell(words: list[str]) -> bool:
    """`["sh", "-c", "gunicorn …"]` is the shell form in disguise, unless the line starts with `exec`."""
    shell = len(words) > 2 and words[0].rpartition("/")[2] in ("sh", "bash", "dash", "ash") and words[1] == "-c"
    return shell and not words[2].startswith("exec ")


def split(line: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(line))
    except ValueError:  # an open quote
        return tuple(line.split())
