"""`init --terraform`, `init --from-linode` and the key files: what is written, and that nothing is overwritten."""

import asyncio
import io
import json
import os
import shutil
import stat
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path

import asyncssh
import msgspec
import pytest

from celadon.cli import infra_root
from celadon.cli.call import answer
from celadon.cli.infra_root import Wanted
from celadon.cli.output import Output
from celadon.config import load
from celadon.core.errors import Refused
from celadon.core.release import Colour
from tests.cli.worlds import Ran
from tests.lab.api.running import TOKEN, RunningLab, running_lab
from tests.rig.require import require

APP = "from flask import Flask\napp = Flask(__name__)\n\n@app.get('/healthz')\ndef up():\n    return 'ok'\n"


def project(tmp_path: Path) -> Path:
    root = tmp_path / "hello"
    root.mkdir()
    (root / "app.py").write_text(APP)
    (root / "Dockerfile").write_text('FROM python\nEXPOSE 5000\nCMD ["gunicorn", "app:app"]\n')
    return root


def celadon(root: Path, *words: str, environ: Mapping[str, str] | None = None) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    given = {"HOME": str(root.parent), "PATH": os.environ["PATH"], **(environ or {})}
    with Path(os.devnull).open(encoding="utf-8") as stdin:
        code = answer(list(words), Output(out, err, given), environ=given, cwd=root, stdin=stdin)
    return Ran(code, out.getvalue(), err.getvalue())


async def on(lab: RunningLab, root: Path, *words: str) -> Ran:
    return await asyncio.to_thread(celadon, root, *words, environ={"LINODE_URL": lab.url, "LINODE_TOKEN": TOKEN})


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- init --terraform ------------------------------------------------------------------------------


def test_init_terraform_writes_a_folder_that_needs_nothing_of_this_machine(tmp_path: Path) -> None:
    root = project(tmp_path)
    ran = celadon(root, "init", "--terraform", "--json")
    assert ran.exit == 0, ran.err
    assert {"celadon.toml", "infra/main.tf", "infra/module/"} <= set(ran.end["written"])
    assert load(root / "celadon.toml").hosts.terraform == "infra"
    main = (root / "infra" / "main.tf").read_text()
    assert 'source = "./module"' in main
    assert str(tmp_path) not in main
    assert "app_port          = 5000" in main
    assert 'path = "/healthz"' in main
    assert (root / "infra" / "module" / "machines.tf").is_file()


def test_the_private_keys_are_the_owners_alone_and_never_committed(tmp_path: Path) -> None:
    root = project(tmp_path)
    ran = celadon(root, "init", "--terraform")
    private = root / "infra" / infra_root.PRIVATE
    assert mode(private) == 0o600
    keys = json.loads(private.read_text())["host_private_keys"]
    public = json.loads((root / "infra" / infra_root.PUBLIC).read_text())["host_keys"]
    assert keys.keys() == public.keys() == {"blue-g1-1", "green-g1-1"}
    for name, text in keys.items():
        of_it = asyncssh.import_private_key(text).export_public_key().decode().split()[:2]
        assert " ".join(of_it) == public[name]
        assert text.splitlines()[1] not in ran.out + ran.err
    ignored = (root / "infra" / ".gitignore").read_text().splitlines()
    assert f"/{infra_root.PRIVATE}" in ignored
    assert {"*.tfstate", ".terraform/"} <= set(ignored)


def test_terraform_finds_what_was_written_well_formed(tmp_path: Path) -> None:
    terraform = shutil.which("terraform")
    require(terraform, "terraform (https://developer.hashicorp.com/terraform/install)")
    root = project(tmp_path)
    celadon(root, "init", "--terraform")
    ran = subprocess.run(
        [str(terraform), f"-chdir={root / 'infra'}", "fmt", "-check", "-recursive", "-diff"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    assert (ran.returncode, ran.stdout) == (0, "")


def test_init_terraform_overwrites_nothing(tmp_path: Path) -> None:
    root = project(tmp_path)
    (root / "infra").mkdir()
    (root / "infra" / "main.tf").write_text("mine")
    ran = celadon(root, "init", "--terraform")
    assert ran.exit == 2
    assert "overwrites nothing" in ran.err
    assert (root / "infra" / "main.tf").read_text() == "mine"
    assert not (root / "celadon.toml").exists()


def test_another_source_of_the_module(tmp_path: Path) -> None:
    root = project(tmp_path)
    source = 'git::https://example.com/x.git//module?ref=v1"${oops}'
    assert celadon(root, "init", "--terraform", "--module", source).exit == 0
    main = (root / "infra" / "main.tf").read_text()
    assert 'source = "git::https://example.com/x.git//module?ref=v1\\"$${oops}"' in main
    assert not (root / "infra" / "module").exists()


def test_options_that_mean_nothing_alone_are_refused(tmp_path: Path) -> None:
    root = project(tmp_path)
    assert celadon(root, "init", "--module", "x").exit == 2
    assert celadon(root, "init", "--nodebalancer", "x").exit == 2
    assert sorted(path.name for path in root.iterdir()) == ["Dockerfile", "app.py"]


# -- keys and generations ---------------------------------------------------------------------------


def test_a_raised_generation_gets_new_keys_and_loses_none_before_an_apply(tmp_path: Path) -> None:
    infra_root.write_colours(tmp_path, {Colour.BLUE: Wanted(), Colour.GREEN: Wanted(count=2)})
    assert infra_root.ensure_keys(tmp_path) == ("blue-g1-1", "green-g1-1", "green-g1-2")
    before = (tmp_path / infra_root.PUBLIC).read_text()
    assert infra_root.ensure_keys(tmp_path) == ()
    assert (tmp_path / infra_root.PUBLIC).read_text() == before
    infra_root.write_colours(tmp_path, {Colour.BLUE: Wanted(), Colour.GREEN: Wanted(count=1, generation=2)})
    assert infra_root.ensure_keys(tmp_path) == ("green-g2-1",)
    kept = json.loads((tmp_path / infra_root.PRIVATE).read_text())["host_private_keys"]
    assert {"green-g1-1", "green-g2-1"} <= kept.keys()
    infra_root.prune_keys(tmp_path, ["blue-g1-1", "green-g2-1"])
    assert json.loads((tmp_path / infra_root.PUBLIC).read_text())["host_keys"].keys() == {"blue-g1-1", "green-g2-1"}
    assert mode(tmp_path / infra_root.PRIVATE) == 0o600


def test_what_else_the_colours_file_says_stays(tmp_path: Path) -> None:
    (tmp_path / infra_root.COLOURS).write_text('{"colours": {"blue": {"count": 2, "type": "g6-standard-2"}}}')
    colours = infra_root.read_colours(tmp_path)
    assert colours is not None
    infra_root.write_colours(tmp_path, colours)
    text = json.loads((tmp_path / infra_root.COLOURS).read_text())
    assert text["colours"]["blue"] == {"count": 2, "generation": 1, "type": "g6-standard-2"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"colours": {"red": {}}}', '{"colours": {"blue": {"count": 1e9}}}'])
def test_a_colours_file_that_is_wrong_is_one_refusal(tmp_path: Path, text: str) -> None:
    (tmp_path / infra_root.COLOURS).write_text(text)
    with pytest.raises(Refused, match="colours"):
        infra_root.read_colours(tmp_path)


def test_a_broken_key_file_is_refused_and_not_shown(tmp_path: Path) -> None:
    infra_root.write_colours(tmp_path, {colour: Wanted() for colour in Colour})
    (tmp_path / infra_root.PRIVATE).write_text('{"host_private_keys": {"blue-g1-1": "half a sec')
    with pytest.raises(Refused) as caught:
        infra_root.ensure_keys(tmp_path)
    assert "half a sec" not in str(caught.value)


# -- init --from-linode -----------------------------------------------------------------------------


async def furnished(lab: RunningLab, *, colour_names: bool = True) -> None:
    names = ("blue-app-01", "green-app-01") if colour_names else ("web-1", "web-2")
    instances = [await lab.instance(name) for name in names]
    balancer = await lab.balancer("app-nodebalancer")
    config = await lab.config(balancer, port=80, protocol="http", check="http", check_interval=5, check_timeout=3)
    for instance, serves in zip(instances, (True, False), strict=True):
        private = next(address for address in instance["ipv4"] if address.startswith("192.168."))
        body = {"label": instance["label"], "address": f"{private}:5000", "mode": "accept" if serves else "reject"}
        await lab.post(f"{config}/nodes", body)


async def test_what_the_account_has_becomes_the_config(tmp_path: Path) -> None:
    root = project(tmp_path)
    async with running_lab() as lab:
        await furnished(lab)
        ran = await on(lab, root, "init", "--from-linode")
    assert ran.exit == 0, ran.err
    tree = tomllib.loads((root / "celadon.toml").read_text())
    assert tree["hosts"] == {"blue": ["blue-app-01"], "green": ["green-app-01"]}
    assert tree["balancer"]["nodebalancer"] == "app-nodebalancer"
    load(root / "celadon.toml")


async def test_colours_that_no_name_tells_are_guessed_and_said(tmp_path: Path) -> None:
    root = project(tmp_path)
    async with running_lab() as lab:
        await furnished(lab, colour_names=False)
        ran = await on(lab, root, "init", "--from-linode")
    assert tomllib.loads((root / "celadon.toml").read_text())["hosts"] == {"blue": ["web-1"], "green": ["web-2"]}
    assert "web-1 is taken for blue: it gets traffic" in ran.err


async def test_several_nodebalancers_are_asked_about(tmp_path: Path) -> None:
    root = project(tmp_path)
    async with running_lab() as lab:
        await furnished(lab)
        await lab.balancer("other-nb")
        several = await on(lab, root, "init", "--from-linode")
        named = await on(lab, root, "init", "--from-linode", "--nodebalancer", "app-nodebalancer")
    assert several.exit == 2
    assert "app-nodebalancer, other-nb" in several.err
    assert named.exit == 0, named.err


async def test_import_blocks_name_all_that_is_there_and_no_key_is_made_for_it(tmp_path: Path) -> None:
    root = project(tmp_path)
    async with running_lab() as lab:
        await furnished(lab)
        before = msgspec.json.encode(lab.account.state)
        ran = await on(lab, root, "init", "--from-linode", "--terraform")
        assert msgspec.json.encode(lab.account.state) == before  # reads only
    assert ran.exit == 0, ran.err
    imports = (root / "infra" / "imports.tf").read_text()
    for address in ('linode_instance.app["blue-g1-1"]', 'linode_instance.app["green-g1-1"]', "linode_nodebalancer.app",
                    "linode_nodebalancer_config.http", 'linode_nodebalancer_node.http["green-g1-1"]'):  # fmt: skip
        assert f"to = module.celadon.{address}" in imports
    assert json.loads((root / "infra" / infra_root.PUBLIC).read_text()) == {"host_keys": {}}
    assert 'region = "us-ord"' in (root / "infra" / "terraform.tfvars").read_text()


async def test_an_empty_account_and_a_missing_token_are_refused(tmp_path: Path) -> None:
    root = project(tmp_path)
    async with running_lab() as lab:
        empty = await on(lab, root, "init", "--from-linode")
    assert (empty.exit, "no NodeBalancer" in empty.err) == (2, True)
    without = await asyncio.to_thread(celadon, root, "init", "--from-linode")
    assert (without.exit, "LINODE_TOKEN is not set" in without.err) == (2, True)
    assert not (root / "celadon.toml").exists()
