"""`celadon init`: looks at the project folder and writes a first `celadon.toml`. Overwrites nothing, runs nothing."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from celadon.config.detect import Detected, detect
from celadon.config.errors import quoted
from celadon.config.project import FILE
from celadon.core.errors import Refused

MOST_FILES = 300
MOST_TEXT = 128 * 1024  # characters of one file
DEPTH = 3
# Not the project's own code, or not what it serves with. Hidden folders are passed over too.
PASSED_OVER = frozenset(
    {"node_modules", "__pycache__", "venv", "env", "build", "dist", "tests", "test", "docs", "migrations"}
)
READ = ("Dockerfile", "Procfile", "pyproject.toml", "uv.lock")
IGNORED = ".celadon/secrets"


class Initialised(msgspec.Struct, frozen=True):
    """What `init` did: the contract's `written` and `detected`, and what a person should know."""

    written: tuple[str, ...]
    detected: dict[str, str]
    warnings: tuple[str, ...]


LABELS = """\
[hosts]  # Linode labels; the API knows their addresses
blue = ["blue-app-01"]
green = ["green-app-01"]

[balancer]
nodebalancer = "app-nodebalancer"  # its label or id
"""
TERRAFORM = """\
[hosts]
terraform = "{folder}"  # hosts, their keys and the NodeBalancer: Terraform's output `celadon`
"""


def looked(root: Path) -> Detected:
    """What the folder shows. Raises `Refused` where `celadon.toml` is already there."""
    if os.path.lexists(root / FILE):
        raise _exists()
    return detect(listing(root), folder=root.resolve().name)


def init(root: Path, found: Detected | None = None, *, hosts: str = LABELS) -> Initialised:
    """`hosts`: the tables [hosts] and [balancer]. Raises `Refused` as `looked`, or where it cannot be written."""
    file = root / FILE
    found = found or looked(root)
    warnings = list(found.warnings)
    if not found.dockerfile and not (root / ".git").exists():
        warnings.append("source needs a git repository (`git archive` makes the release), and there is none: git init")
    try:
        with file.open("x", encoding="utf-8") as new:  # `x`: a file that appeared since is not overwritten either
            new.write(render(found, hosts))
    except FileExistsError:
        raise _exists() from None
    except OSError as error:
        raise Refused(f"{FILE}: cannot be written: {error.strerror}", hint="check the folder's owner") from None
    written = (FILE, *_ignore_secrets(root))
    return Initialised(written, found.said(), tuple(warnings))


def _exists() -> Refused:
    hint = f"nothing was changed; move it away first, or read it: celadon config show -c {FILE}"
    return Refused(f"{FILE} is already here, and init overwrites nothing", hint=hint, where=FILE)


def listing(root: Path) -> dict[str, str]:
    """Path in the project to text, of the files that say what it is. Bounded; follows no link."""
    files: dict[str, str] = {}
    for path in _paths(root, DEPTH):
        if len(files) >= MOST_FILES:
            break
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                files[path.relative_to(root).as_posix()] = file.read(MOST_TEXT)
        except OSError:  # unreadable, or gone since: it shows nothing, and a guess without it is still a guess
            continue
    return files


def _paths(folder: Path, depth: int) -> Iterator[Path]:
    """Files before folders, so that the nearest are read when there are too many."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: (entry.is_dir(follow_symlinks=False), entry.name))
    except OSError:
        return
    for entry in entries:
        if entry.is_file(follow_symlinks=False):
            if entry.name in READ or entry.name.endswith(".py") or entry.name.startswith("requirements"):
                yield Path(entry.path)
        elif depth > 1 and entry.is_dir(follow_symlinks=False) and not _passed_over(entry.name):
            yield from _paths(Path(entry.path), depth - 1)


def _passed_over(name: str) -> bool:
    return name.startswith(".") or name in PASSED_OVER or name.endswith(".egg-info")


def _ignore_secrets(root: Path) -> tuple[str, ...]:
    """Adds the line to .gitignore unless a line of it already says so."""
    path = root / ".gitignore"
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        lines = {line.strip().strip("/") for line in text.splitlines()}
        if lines & {IGNORED, ".celadon", ".celadon/*"}:
            return ()
        with path.open("a", encoding="utf-8") as file:
            file.write(("" if not text or text.endswith("\n") else "\n") + f"/{IGNORED}\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "is not UTF-8 text"
        hint = f"{FILE} was written; add the line /{IGNORED} to .gitignore yourself, before any secret"
        raise Refused(f".gitignore: {why}", hint=hint, where=".gitignore") from None
    return (".gitignore",)


def render(found: Detected, hosts: str = LABELS) -> str:
    """A `celadon.toml` that loads, with a comment beside each guess."""
    artifact = (
        f'image = "ghcr.io/acme/{found.app.value}"  # your image, without a tag: the version is deploy\'s argument'
        if found.dockerfile
        else 'source = "."  # sent as `git archive`, run in a virtual environment of its own'
    )
    return f"""\
# Written by `celadon init`. Every key with its reason: celadon config example

app = "{found.app.value}"  # from {found.app.because}; names replicas, journal and lease
{artifact}
port = {found.port}  # {found.port_because}
{_command_line(found)}
# url = "http://myapp.example.com"  # your users' door; absent: the NodeBalancer's address

[health]
path = "{found.health.value}"  # {found.health.because}; it must answer 2xx, and not with a redirect

# [env]
# clear = {{ APP_ENV = "production" }}
# secret = ["DATABASE_URL"]  # names only: values from the environment or .celadon/secrets

{hosts}
[verify]  # asked through the users' door, all rollout long
# path = "/"                # a page of the application's; without it health.path is asked, which seldom names a version
# contains = "{{version}}"  # if its answers name the version: then the evidence says who answered
"""


def _command_line(found: Detected) -> str:
    words = found.command or ("gunicorn", "-b", "{host}:{port}", "app:app")
    line = f"command = [{', '.join(quoted(word) for word in words)}]"
    if not found.command:
        line += "  # a guess: nothing in the folder shows the application"
    elif not found.command_needed:
        return f"# {line}  # instead of the image's CMD"
    elif found.dockerfile:
        # A command that the image cannot run would break the first deploy; the warning says what to add.
        active = found.command[0] in found.servers
        return f"{'' if active else '# '}{line}  # instead of the image's CMD, a development server"
    else:
        line += f"  # from {found.command_because}"
    return f"# {line}" if found.dockerfile else line
