"""What kind of application a folder holds, from a listing of it: path to text. Pure: nothing is run or imported.

`init.py` makes the listing and writes the config. A guess says what it was made from, so that a person can judge it.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping

import msgspec

from celadon.config.dockerfile import Dockerfile, Start, parse_dockerfile, split
from celadon.config.source import Framework, Seen, Target, health_path, read_sources
from celadon.config.values import APP

SERVERS = ("gunicorn", "uvicorn", "hypercorn", "granian", "waitress", "daphne")
DEFAULT_PORT: Mapping[Framework | None, int] = {"flask": 5000, "fastapi": 8000, "django": 8000, None: 8000}


class Guess(msgspec.Struct, frozen=True):
    """A value, and what it was read from."""

    value: str
    because: str


class Detected(msgspec.Struct, frozen=True):
    """What was found. `warnings` are what would lose requests; each says what to do instead."""

    app: Guess
    framework: Framework | None
    target: Target | None
    dockerfile: bool
    port: int
    port_because: str
    health: Guess
    command: tuple[str, ...]  # with `{host}` and `{port}`; empty where nothing is known
    command_because: str
    command_needed: bool  # false where the image's own CMD is good
    servers: tuple[str, ...]  # among the requirements
    warnings: tuple[str, ...]

    def said(self) -> dict[str, str]:
        """For people and `--json`: what was found, and where."""
        known = self.framework or "no framework that Celadon knows"
        target = f", {self.target.module}:{self.target.name}" if self.target else ""
        return {
            "application": known + target,
            "artifact": "image (Dockerfile)" if self.dockerfile else "source (no Dockerfile)",
            "port": f"{self.port} ({self.port_because})",
            "health.path": f"{self.health.value} ({self.health.because})",
            "server": ", ".join(self.servers) or "none among the requirements",
        }


def detect(files: Mapping[str, str], *, folder: str) -> Detected:
    """`files`: the listing. `folder`: the project folder's name, which names an app that nothing else names."""
    seen = read_sources(files)
    requirements = required(files)
    docker = parse_dockerfile(files["Dockerfile"]) if "Dockerfile" in files else None
    framework = _framework(seen, requirements)
    target = next((target for target in seen.targets if target.framework == framework), None)
    servers = tuple(server for server in SERVERS if server in requirements)
    web = procfile_web(files.get("Procfile", ""))
    start = docker.start if docker else None
    port, port_because = _port(docker, web, seen, framework)
    command, command_because = _command(framework, target, servers, web)
    needed = docker is None or (
        start is not None and development_server(start.words, runs_uvicorn=seen.runs_uvicorn) is not None
    )
    return Detected(
        app=_app(files, folder),
        framework=framework,
        target=target,
        dockerfile=docker is not None,
        port=port,
        port_because=port_because,
        health=_health(seen),
        command=command,
        command_because=command_because,
        command_needed=needed,
        servers=servers,
        warnings=(
            *_start_warnings(docker, web, command, runs_uvicorn=seen.runs_uvicorn),
            *_requirement_warnings(files, command, servers, source=docker is None),
        ),
    )


def required(files: Mapping[str, str]) -> frozenset[str]:
    """Names of the packages that the project says it needs, in lower case."""
    lines: list[str] = []
    for path, text in files.items():
        if re.fullmatch(r"requirements[\w.-]*\.(?:txt|in)", path):
            lines += text.splitlines()
    project = _toml(files.get("pyproject.toml", "")).get("project")
    dependencies = project.get("dependencies") if isinstance(project, dict) else None
    lines += [line for line in dependencies if isinstance(line, str)] if isinstance(dependencies, list) else []
    names = (re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", line) for line in lines)
    return frozenset(name[1].lower().replace("_", "-") for name in names if name)


def procfile_web(text: str) -> tuple[str, ...]:
    """The words of Procfile's `web:`; empty where there is none."""
    found = re.search(r"^web:[ \t]*(.+)$", text, re.MULTILINE)
    return split(found[1].removeprefix("exec ")) if found else ()


def development_server(words: tuple[str, ...], *, runs_uvicorn: bool = False) -> str | None:
    """The command as a person would say it, if it starts a server that drops requests when it is stopped.

    Measured: as PID 1 a plain script and Flask's own server ignore SIGTERM, and are killed with their requests.
    """
    line = " ".join(words)
    script = r"(?:\S*/)?python[\d.]*(?: -u)? \S+\.py\b(?! migrate)"
    patterns = (
        *(() if runs_uvicorn else (script,)),
        r"(?:\S*/)?(?:python[\d.]* -m )?flask\b.* run\b",
        r"fastapi dev\b",
        r"uvicorn\b.* --reload\b",
    )
    runs = any(re.match(pattern, line) for pattern in patterns)
    return line[:60] if runs else None


def _framework(seen: Seen, requirements: frozenset[str]) -> Framework | None:
    """Targets are proof; imports and requirements are hints."""
    if seen.targets:
        return seen.targets[0].framework
    names = seen.imports | requirements
    known: tuple[Framework, ...] = ("django", "fastapi", "flask")
    return next((name for name in known if name in names), None)


def _app(files: Mapping[str, str], folder: str) -> Guess:
    project = _toml(files.get("pyproject.toml", "")).get("project")
    named = project.get("name") if isinstance(project, dict) else None
    guesses = [Guess(named, "pyproject.toml")] if isinstance(named, str) else []
    for guess in (*guesses, Guess(folder, "the folder's name")):
        name = re.sub(r"[^a-z0-9]+", "-", guess.value[:40].lower()).strip("-")
        if re.fullmatch(APP, name):
            return Guess(name, guess.because)
    return Guess("app", "nothing names it")


def _port(
    docker: Dockerfile | None, web: tuple[str, ...], seen: Seen, framework: Framework | None
) -> tuple[int, str]:
    if docker and docker.ports:
        return docker.ports[0], f"EXPOSE {docker.ports[0]}"
    for words, where in (
        (docker.start.words if docker and docker.start else (), "Dockerfile's CMD"),
        (web, "Procfile"),
    ):
        bound = re.search(r"(?:--port[ =]|(?:-b|--bind)[ =]?\S*:|-p )(\d{2,5})\b", " ".join(words))
        if bound and int(bound[1]) < 65536:
            return int(bound[1]), where
    if seen.port:
        return seen.port, "run(port=…)"
    return DEFAULT_PORT[framework], f"{framework or 'a web server'}'s usual port"


def _health(seen: Seen) -> Guess:
    found = health_path(seen.routes)
    return Guess(found, "its route was found") if found else Guess("/", "no route for health was found")


def _command(
    framework: Framework | None, target: Target | None, servers: tuple[str, ...], web: tuple[str, ...]
) -> tuple[tuple[str, ...], str]:
    """What to start with `source`, or in place of an image's development server."""
    if web and not development_server(web) and not _needs_shell(web):
        words = (
            word.replace("0.0.0.0:", "{host}:").replace("${PORT}", "{port}").replace("$PORT", "{port}")
            for word in web
        )
        return tuple("{host}" if word == "0.0.0.0" else word for word in words), "Procfile"
    if target is None:
        return (), ""
    name = f"{target.module}:{target.name}"
    if framework == "fastapi" and ("gunicorn" not in servers or "uvicorn" in servers):
        # Without this bound uvicorn waits for ever for clients that stay, and is killed with the rest.
        bounded = ("uvicorn", "--host", "{host}", "--port", "{port}", "--timeout-graceful-shutdown", "30")
        return (*bounded, *(("--factory",) if target.factory else ()), name), "the application that was found"
    called = f"{name}()" if target.factory else name
    return ("gunicorn", "-b", "{host}:{port}", called), "the application that was found"


def _needs_shell(words: tuple[str, ...]) -> bool:
    """Whether the line means more than its words: then it is not copied, and the application is started directly."""
    line = " ".join(words).replace("${PORT}", "").replace("$PORT", "")
    plain = all(re.fullmatch(r"[!-~]+", word) for word in words)
    return not plain or bool(re.search(r"[$`|;<>*{}]|&&", line)) or "=" in words[0]


def _start_warnings(
    docker: Dockerfile | None, web: tuple[str, ...], command: tuple[str, ...], *, runs_uvicorn: bool
) -> Iterator[str]:
    start = docker.start if docker else Start(web, shell_form=False) if web else None
    where = "Dockerfile" if docker else "Procfile"
    if docker and start is None:
        yield "Dockerfile has no CMD: the base image's starts, or set `command` in celadon.toml"
    if start is None:
        return
    if start.shell_form:
        listed = ", ".join(f'"{word}"' for word in start.words[:12])
        reason = "sh is PID 1 and passes no SIGTERM on, so requests are killed"
        yield f"{where}: CMD in shell form: {reason}. Write it as a list: CMD [{listed}]"
    if server := development_server(start.words, runs_uvicorn=runs_uvicorn):
        better = f"`{' '.join(command)}`" if command else "gunicorn or uvicorn"
        yield f"{where}: `{server}` starts a development server, which drops requests on stop. Use {better}"
    elif docker and (loopback := _listens_on_loopback(start.words)):
        yield f"{where}: {loopback}, which nothing outside the container reaches. Bind 0.0.0.0"


def _requirement_warnings(
    files: Mapping[str, str], command: tuple[str, ...], servers: tuple[str, ...], *, source: bool
) -> Iterator[str]:
    # An image may get its server elsewhere; what `source` runs comes from the requirements alone.
    if source and command and command[0] in SERVERS and command[0] not in servers:
        yield f"{command[0]} is not among the requirements: add it to requirements.txt or pyproject.toml"
    if source and not any(path in files for path in ("requirements.txt", "pyproject.toml", "uv.lock")):
        yield "nothing says what to install: source needs requirements.txt, pyproject.toml or uv.lock"


def _listens_on_loopback(words: tuple[str, ...]) -> str | None:
    line = " ".join(words)
    server = next((name for name in ("gunicorn", "uvicorn") if re.search(rf"(?:^|[/ ]){name}\b", line)), None)
    if server is None:
        return None
    if re.search(r"(?:127\.0\.0\.1|localhost)\b", line):
        return f"{server} is told to listen on loopback"
    told = {"gunicorn": r"(?:^| )(?:-b|--bind|-c|--config)", "uvicorn": r" --(?:host|uds|fd)\b"}
    return None if re.search(told[server], line) else f"{server} listens on 127.0.0.1 unless told otherwise"


def _toml(text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return {}
