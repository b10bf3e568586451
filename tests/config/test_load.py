"""What a right config becomes, and that nothing but `ConfigError` comes out of a wrong one."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celadon.config import Config, ConfigError, load, parse
from celadon.config.kinds import At
from celadon.config.model import CONFIG
from celadon.config.show import example
from celadon.config.tables import ListOf, Table
from celadon.config.values import Host, ImageRef, SshAddress
from celadon.core.release import Colour

VENV = 'source = "."\ncommand = ["gunicorn", "-b", "{host}:{port}", "app:app"]'


def read(text: str, root: Path) -> Config:
    return parse(text, file="celadon.toml", root=root)


def test_the_smallest_file_has_nine_lines_and_every_default(smallest: str, root: Path) -> None:
    assert len(smallest.splitlines()) == 9
    config = read(smallest, root)
    assert config.image == ImageRef("ghcr.io", "acme/hello")
    assert config.runtime == "docker"
    assert config.health.interval == timedelta(seconds=1)
    assert config.health.start_within == timedelta(minutes=2)
    assert config.health.host_header is None  # the NodeBalancer's address, known when it was read
    assert config.warm_up.paths == ("/",)
    assert config.verify.path == "/"
    assert (config.verify.rate, config.verify.max_failed, config.verify.contains) == (5.0, 0, None)
    assert config.hosts.home == "blue-app-01"
    assert [host.name for host in config.hosts.of(Colour.GREEN)] == ["green-app-01", "green-app-02"]
    assert config.balancer.ports is None  # all it has
    assert config.balancer.add_nodes
    assert (config.rollout.settle, config.rollout.bake) == (timedelta(seconds=60), timedelta(minutes=5))
    assert (config.rollout.strategy, config.rollout.bake_net) == ("blue-green", "backup")
    assert config.rollout.deadline == timedelta(minutes=30)
    assert (config.keep, config.ssh.user) == (5, "root")
    assert (config.tests, config.hooks.after_finish, config.registry, config.secrets) == ((), None, None, None)
    assert config.slot_port(Colour.BLUE) == config.slot_port(Colour.GREEN) == 5000


def test_the_reference_loads(root: Path) -> None:
    config = read(example(), root)
    assert config.health.host_header == "myapp.example.com"
    assert not config.https
    assert config.hosts.green[1] == Host("203.0.113.22", None, SshAddress("203.0.113.22", "root"), "192.168.130.22")
    assert config.env.secret == ("DATABASE_URL", "SECRET_KEY")
    assert config.tests[0].timeout == timedelta(minutes=5)
    hook = config.hooks.after_finish
    assert hook is not None
    assert hook.safe_to_repeat


def test_every_default_in_the_reference_is_the_real_one(root: Path) -> None:
    as_printed = read(example(), root)
    all_said = read(example().replace("#= ", ""), root)
    assert all_said == as_printed


def test_the_reference_shows_every_key() -> None:
    shown = example()
    missing = [name for name in all_keys(CONFIG) if name not in shown]
    assert missing == []


def all_keys(table: Table[Any]) -> list[str]:
    names = list(table.keys)
    for key in table.keys.values():
        kind = key.kind.kind if isinstance(key.kind, ListOf) else key.kind
        if isinstance(kind, Table):
            names += all_keys(kind)
    return names


def test_the_whole_config_survives_the_journal(root: Path) -> None:
    """Its JSON, read back strictly, is equal: so each value also has the type that its Struct declares."""
    shared = '[hosts]\nblue = ["web"]\ngreen = ["web"]\nports = { blue = 1, green = 2 }'
    texts = (example(), f'app="a"\n{VENV}\nport=1\nhealth.path="/"\nbalancer.nodebalancer=7\n{shared}')
    for text in texts:
        config = read(text, root)
        assert msgspec.json.decode(msgspec.json.encode(config), type=Config) == config


def test_colours_that_share_a_host_have_a_port_each(smallest: str, root: Path) -> None:
    text = smallest.replace('"green-app-01"', '"blue-app-01"').replace(
        "[balancer]", "ports = { blue = 1, green = 2 }\n[balancer]"
    )
    config = read(text, root)
    assert (config.slot_port(Colour.BLUE), config.slot_port(Colour.GREEN)) == (1, 2)


def test_one_address_may_have_two_ports(smallest: str, root: Path) -> None:
    host = "{ ssh = 'root@web', private = '10.0.0.1' }"
    text = smallest.replace('["blue-app-01", "blue-app-02"]', f"[{host}]").replace(
        '["green-app-01", "green-app-02"]', f"[{host}]\nports = {{ blue = 5000, green = 5001 }}"
    )
    assert read(text, root).hosts.blue == read(text, root).hosts.green


def test_source_makes_the_venv_runtime(smallest: str, root: Path) -> None:
    config = read(smallest.replace('image = "ghcr.io/acme/hello"', VENV), root)
    assert (config.runtime, config.source, config.image) == ("venv", ".", None)
    assert config.command[2] == "{host}:{port}"  # expanded on the host


def test_tags_and_a_numeric_nodebalancer(smallest: str, root: Path) -> None:
    text = smallest.replace(
        'blue = ["blue-app-01", "blue-app-02"]', "tags = { blue = ['app', 'blue'], green = ['green'] }"
    )
    text = text.replace('green = ["green-app-01", "green-app-02"]\n', "").replace('"app-nodebalancer"', "42")
    config = read(text, root)
    assert config.balancer.nodebalancer == 42
    assert config.hosts.tags is not None
    assert config.hosts.tags.blue == ("app", "blue")
    assert config.hosts.home is None  # not known before the API answers


def test_https_and_a_port_in_the_url(smallest: str, root: Path) -> None:
    config = read('url = "https://MyApp.example.com:8443/"\n' + smallest, root)
    assert config.https
    assert config.url == "https://myapp.example.com:8443"
    assert config.health.host_header == "myapp.example.com:8443"


def test_braces_that_are_not_ours_stay(smallest: str, root: Path) -> None:
    argument = "%({x-forwarded-for}i)s {referer} {}"
    config = read(f"command = ['gunicorn', '--access-logformat', '{argument}']\n" + smallest, root)
    assert config.command[2] == argument


def test_long_values_of_variables_and_line_breaks_are_kept(smallest: str, root: Path) -> None:
    config = read(f'env.clear.KEY = """{"a" * 100_000}\nb"""\n' + smallest, root)
    assert config.env.clear["KEY"].endswith("\nb")


def test_a_file_saved_on_windows_loads(smallest: str, root: Path) -> None:
    path = root / "celadon.toml"
    path.write_bytes(b"\xef\xbb\xbf" + smallest.replace("\n", "\r\n").encode())
    assert load(path).app == "hello"


FRAGMENTS = (
    """
app = "hello" ; image = "ghcr.io/acme/hello" ; port = 5000 ; health.path = "/" ; [hosts] ; [balancer] ; [env]
blue = ["blue-app-01"] ; green = ["green-app-01"] ; nodebalancer = "app" ; [[tests]] ; [rollout] ; clear = {}
[hosts.ports] ; keep = [1, {}] ; url = "http://[::1]:80" ; [health] ; path = '/' ; bake = 1e9 ; secret = ['A']
tags = { blue = [''], green = [] } ; terraform = 'notes.txt' ; source = 'loop' ; home = '' ; [hooks]
""".strip()
    .replace("\n", " ; ")
    .split(" ; ")
)


@given(st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=20), max_size=15).map("\n".join))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_shuffled_files_raise_nothing_else(root: Path, text: str) -> None:
    assert_clear(refusal(lambda: read(text, root)))


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_raise_nothing_else(root: Path, content: bytes) -> None:
    path = root / "celadon.toml"
    path.write_bytes(content)
    assert_clear(refusal(lambda: load(path)))


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.dates()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def some_table(table: Table[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Tables whose keys are mostly ours and whose values are anything."""
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for key in table.keys.values():
        kind = key.kind
        fields[key.name] = (some_table(kind) | VALUES) if isinstance(kind, Table) else VALUES
    return st.fixed_dictionaries({}, optional=fields)


@given(some_table(CONFIG))
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_any_tree_is_read_or_refused(root: Path, tree: dict[str, Any]) -> None:
    at = At("celadon.toml", root, set())
    assert_clear(refusal(lambda: CONFIG.read(tree, at)))


def refusal(attempt: Callable[[], object]) -> ConfigError | None:
    """What the attempt is refused with; every other exception fails the test."""
    try:
        attempt()
    except ConfigError as error:
        return error
    return None


def assert_clear(error: ConfigError | None) -> None:
    if error is not None:
        assert error.message.isprintable()
        assert error.hint
        assert error.hint.isprintable()
