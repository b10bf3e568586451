"""The files in Terraform's folder that Celadon writes: which machines each colour has, and their host keys.

colours.auto.tfvars.json            {"colours": {"blue": {"count": 1, "generation": 1}, "green": {…}}}, committed
host_keys.auto.tfvars.json          public halves, committed
host_private_keys.auto.tfvars.json  private halves, 0600, ignored by git
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import asyncssh
import msgspec

from celadon.adapters import files
from celadon.core.errors import Refused
from celadon.core.release import Colour

COLOURS = "colours.auto.tfvars.json"
PUBLIC = "host_keys.auto.tfvars.json"
PRIVATE = "host_private_keys.auto.tfvars.json"
IMPORTS = "imports.tf"
ADOPTED = re.compile(r'linode_instance\.app\["([a-z0-9-]+)"\]')
LARGEST = 4 * 1024 * 1024


class Wanted(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Machines of one colour, as the module's variable `colours` has them."""

    count: int = 1
    generation: int = 1
    type: str | None = None
    image: str | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    colours: dict[Colour, Wanted]


def read_colours(folder: Path) -> dict[Colour, Wanted] | None:
    """None where there is no such file: then the folder's owner says the colours elsewhere, and owns the keys."""
    text = _read(folder / COLOURS)
    if text is None:
        return None
    try:
        colours = msgspec.json.decode(text, type=_File).colours
    except (msgspec.DecodeError, RecursionError) as error:
        hint = '{"colours": {"blue": {"count": 1, "generation": 1}, "green": {"count": 1, "generation": 1}}}'
        raise Refused(f"{folder.name}/{COLOURS}: {error}", hint=hint, where=COLOURS) from None
    for colour, wanted in colours.items():
        if not (0 <= wanted.count <= 50 and 1 <= wanted.generation <= 99_999):
            raise Refused(f"{folder.name}/{COLOURS}: {colour}: count is 0-50, generation 1-99999", where=COLOURS)
    return {colour: colours.get(colour, Wanted()) for colour in Colour}


def write_colours(folder: Path, colours: Mapping[Colour, Wanted]) -> None:
    plain = {
        "colours": {colour.value: msgspec.to_builtins(wanted) | _always(wanted) for colour, wanted in colours.items()}
    }
    files.replace(folder / COLOURS, json.dumps(plain, indent=2) + "\n", mode=0o644)


def machines(colours: Mapping[Colour, Wanted]) -> tuple[str, ...]:
    """`blue-g1-1`: the module's names."""
    return tuple(
        f"{colour.value}-g{wanted.generation}-{number}"
        for colour, wanted in colours.items()
        for number in range(1, wanted.count + 1)
    )


def ensure_keys(folder: Path) -> tuple[str, ...]:
    """A key pair for each machine that has none. None goes here: a plan that is refused must leave all as it was.

    A machine that was adopted has a key of its own, which nobody here knows.
    """
    colours = read_colours(folder)
    if colours is None:
        return ()
    adopted = ADOPTED.findall(_read(folder / IMPORTS) or "")
    public = _keys(folder, PUBLIC)
    made = {
        name: asyncssh.generate_private_key("ssh-ed25519")
        for name in machines(colours)
        if name not in public and name not in adopted
    }
    lines = {name: " ".join(key.export_public_key().decode().split()[:2]) for name, key in made.items()}
    texts = {name: key.export_private_key().decode() for name, key in made.items()}
    _keep(folder, public | lines, _keys(folder, PRIVATE) | texts)
    return tuple(made)


def prune_keys(folder: Path, there: Iterable[str]) -> None:
    """After an apply: only keys of machines that are there, or are wanted, are of any use."""
    colours = read_colours(folder)
    if colours is not None:
        of_use = {*machines(colours), *there}
        public, private = _keys(folder, PUBLIC), _keys(folder, PRIVATE)
        _keep(
            folder,
            {name: key for name, key in public.items() if name in of_use},
            {name: key for name, key in private.items() if name in of_use},
        )


def _keep(folder: Path, public: Mapping[str, str], private: Mapping[str, str]) -> None:
    """The private halves first: a public one alone would be taken for a machine that exists."""
    if private != _keys(folder, PRIVATE) or not (folder / PRIVATE).exists():
        files.replace(folder / PRIVATE, json.dumps({"host_private_keys": private}, indent=2) + "\n", mode=0o600)
    if public != _keys(folder, PUBLIC) or not (folder / PUBLIC).exists():
        files.replace(folder / PUBLIC, json.dumps({"host_keys": public}, indent=2) + "\n", mode=0o644)


def _always(wanted: Wanted) -> dict[str, int]:
    return {"count": wanted.count, "generation": wanted.generation}


def _keys(folder: Path, name: str) -> dict[str, str]:
    text = _read(folder / name)
    if text is None:
        return {}
    try:
        tree = msgspec.json.decode(text, type=dict[str, dict[str, str]], strict=True)
        return dict(tree[name.partition(".")[0]])
    except (msgspec.DecodeError, KeyError, RecursionError):
        # Not chained, and nothing of the text is shown: it may be half a private key.
        raise Refused(f"{folder.name}/{name}: is not what Celadon wrote", hint="restore it", where=name) from None


def _read(path: Path) -> str | None:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(LARGEST)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise Refused(f"{path.parent.name}/{path.name}: {why}", where=path.name) from None
