"""`config show`, `config schema`, and where a project is."""

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from celadon.config import ConfigError
from celadon.config.kinds import At
from celadon.config.load import parse_whole
from celadon.config.model import CONFIG
from celadon.config.project import find, open_project
from celadon.config.show import example, json_schema, plain, resolved
from celadon.config.tables import ListOf, Table

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/celadon.toml"))


def test_each_value_says_where_it_comes_from(root: Path) -> None:
    parsed = parse_whole(example(), file="celadon.toml", root=root)
    shown = resolved(parsed, file="celadon.toml")
    assert shown.config["rollout"]["bake"] == "5m"
    assert shown.config["image"] == "ghcr.io/acme/hello"
    assert shown.config["hosts"]["green"] == [
        "green-app-01",
        {"ssh": "root@203.0.113.22", "private": "192.168.130.22"},
    ]
    assert shown.origins["rollout.bake"] == "default"
    assert shown.origins["port"] == "celadon.toml"
    assert shown.origins["health.host_header"] == "from url"
    assert shown.origins["verify.path"] == "from health.path"
    assert shown.origins["hosts.home"] == "from hosts.blue"
    assert shown.origins["hooks.after_finish.command"] == "celadon.toml"
    assert shown.origins["env.clear.APP_ENV"] == "celadon.toml"
    json.dumps(shown.config)


def test_every_value_shown_has_an_origin(smallest: str, root: Path) -> None:
    shown = resolved(parse_whole(smallest, file="c", root=root), file="c")
    for section, keys in shown.config.items():
        if isinstance(keys, dict):
            assert all(any(origin.startswith(f"{section}.{key}") for origin in shown.origins) for key in keys)
        else:
            assert section in shown.origins


def test_what_is_shown_can_be_written_back(root: Path) -> None:
    """`config show` speaks the file's language: its values, read as a file, are the same config."""
    parsed = parse_whole(example(), file="celadon.toml", root=root)

    def without_unset(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {key: without_unset(value) for key, value in tree.items() if value not in (None, [])}
        return [without_unset(item) for item in tree] if isinstance(tree, list) else tree

    again = CONFIG.read(without_unset(plain(parsed.config)), At("again", root, set()))
    assert again == parsed.config


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_the_schema_has_every_key_of_every_table() -> None:
    def compare(table: Table[Any], schema: dict[str, Any]) -> None:
        assert set(schema["properties"]) == set(table.struct.__struct_fields__)
        for key in table.keys.values():
            inner, kind = schema["properties"][key.name], key.kind
            assert inner["description"] == key.about
            if isinstance(kind, ListOf):
                inner, kind = inner["items"], kind.kind
            if isinstance(kind, Table):
                compare(kind, inner)

    compare(CONFIG, json_schema())


@pytest.mark.parametrize("text", [example(), *(path.read_text() for path in EXAMPLES)])
def test_the_examples_pass_the_schema(text: str) -> None:
    jsonschema.validate(tomllib.loads(text), json_schema())


@pytest.mark.parametrize(
    "extra", ["prot = 1", "keep = 'x'", "keep = 0", "rollout.bake = '5'", "env.clear.A-B = ''", "tests = []"]
)
def test_the_schema_refuses_what_the_loader_refuses(extra: str, smallest: str, root: Path) -> None:
    text = f"{extra}\n{smallest}"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tomllib.loads(text), json_schema())
    with pytest.raises(ConfigError):
        parse_whole(text, file="celadon.toml", root=root)


def test_a_project_is_found_from_a_folder_inside(smallest: str, root: Path) -> None:
    (root / "celadon.toml").write_text(smallest)
    project = open_project(start=root / "infra")
    assert project.root == root.resolve()
    assert project.config.app == "hello"
    assert project.known_hosts == root.resolve() / ".celadon" / "known_hosts"
    assert project.secrets_file.name == "secrets"


def test_another_file_is_named(smallest: str, root: Path) -> None:
    (root / "staging.toml").write_text(smallest.replace('"hello"', '"hello-staging"', 1))
    assert open_project(root / "staging.toml").config.app == "hello-staging"


def test_the_search_ends_at_the_repository(smallest: str, root: Path) -> None:
    (root.parent / "celadon.toml").write_text(smallest)
    (root / ".git").mkdir()
    with pytest.raises(ConfigError, match="not found in") as caught:
        find(root / "infra")
    assert caught.value.hint == "celadon init writes one; -c names another"
