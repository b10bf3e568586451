"""`history --html` and `--verify`: one file that loads nothing, runs nothing, and shows whether it was changed."""

import itertools
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from celadon.cli.certificate.page import html
from celadon.cli.certificate.timeline import APART, nice, spread, timeline, took
from celadon.core.certificate import certify
from celadon.core.intent import Rollout
from celadon.core.journal import Event, Noted, Returning
from tests.adapters.test_signature import allow, keygen, make_key
from tests.cli.journals import bad, good, rollout
from tests.cli.worlds import MemoryWorld
from tests.rig.require import require_programs

HOSTILE = '"><script>alert(1)</script><img src=//evil.example/x onerror=alert(2)>\x1b[31m\u202e--><!-- ssh signature\n'


def page(story: tuple[Rollout, list[Event]], *, signer: str = "") -> str:
    return html(certify(*story), story[1], signer=signer)


class Tags(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.comments: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def hostile() -> tuple[Rollout, list[Event]]:
    of, events = bad()
    named = msgspec.structs.replace(of.candidate, version=HOSTILE, artifact=HOSTILE)
    verify = msgspec.structs.replace(of.verify, url=HOSTILE)
    of = msgspec.structs.replace(
        of, app=HOSTILE, candidate=named, verify=verify, opened_by=HOSTILE, settings_hash=HOSTILE, balancer=HOSTILE,
        celadon=HOSTILE,
    )  # fmt: skip
    return of, [
        *events,
        Returning(at=events[-1].at, reason=HOSTILE, because=HOSTILE),
        Noted(at=events[-1].at, text=HOSTILE, because=HOSTILE),
    ]


# -- the page ------------------------------------------------------------------------------------------


def test_texts_of_hosts_and_releases_stay_texts() -> None:
    known, found = Tags(page(bad(), signer="SHA256:x")), Tags(page(hostile(), signer=HOSTILE))
    assert found.tags == known.tags
    assert {name for name, _ in found.attributes} == {name for name, _ in known.attributes}
    assert found.comments == []
    text = page(hostile())
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.count("alert(1)") > 5  # it is shown, for what it is


@pytest.mark.parametrize("story", [good(), bad(), hostile()])
def test_nothing_outside_is_named_where_a_browser_would_fetch_it(story: tuple[Rollout, list[Event]]) -> None:
    loading = {"src", "href", "xlink:href", "action", "poster", "data", "srcset", "style"}
    found = Tags(page(story))
    assert not loading & {name for name, _ in found.attributes}
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert not {"script", "link", "img", "iframe", "object", "base"} & found.tags
    assert set(re.findall(r"url\(([^)]*)\)", page(good()))) == {"#blue", "#green"}


def test_the_first_lines_are_what_a_customer_wants_to_know() -> None:
    text = re.sub(r"<style>.*?</style>|<[^>]+>", " ", page(good()), flags=re.DOTALL)
    words = " ".join(text.split())
    for told in ("v1.1.0 is live on green", "no request failed", "0 of 2,3", "4.2 s", "7:46", "fewer than 0.13 %"):
        assert 0 < words.index(told) < 700, told


def test_every_decision_and_every_doubt_is_on_the_page() -> None:
    text = page(bad())
    assert "because: one candidate node first, at weight 1" in text
    assert "no driver ran, and nobody counted" in text
    assert "going back: users&#x27; requests failed on the candidate" in text


@pytest.mark.parametrize("story", [good(), bad(), hostile(), (rollout(), [])])
def test_the_picture_is_well_formed_and_stays_in_its_frame(story: tuple[Rollout, list[Event]]) -> None:
    picture = ET.fromstring(timeline(certify(*story)))
    _, _, wide, high = map(float, picture.attrib["viewBox"].split())
    for shape in picture.iter():
        if shape.tag == "rect" and "x" in shape.attrib:
            x, y, w, h = (float(shape.attrib[name]) for name in ("x", "y", "width", "height"))
            assert 0 <= x <= x + w <= wide + 0.1, shape.attrib
            assert 0 <= y <= y + h <= high, shape.attrib


def test_colours_are_told_apart_without_colour() -> None:
    picture = ET.fromstring(timeline(certify(*good())))
    shapes = {pattern.attrib["id"]: tuple(shape.tag for shape in pattern) for pattern in picture.iter("pattern")}
    assert shapes == {"blue": ("rect", "line"), "green": ("rect", "circle"), "grey": ("rect", "path")}


def test_numbers_never_lie_on_each_other() -> None:
    for wanted in ([64.0] * 16, [860.0] * 16, [64.0, 65.0, 300.0, 870.0, 871.0]):
        places = spread(wanted)
        assert all(b - a >= APART - 1e-6 for a, b in itertools.pairwise(places))
        assert places[0] >= 0
        assert places[-1] <= 960


def test_figures_on_the_axes() -> None:
    assert [nice(0.041), nice(0.05), nice(1.2), nice(0.0)] == pytest.approx([0.05, 0.05, 2.0, 0.0001])
    assert [took(0.0004), took(0.041), took(4.2), took(0.0)] == ["0.4 ms", "41 ms", "4.2 s", "0 ms"]


# -- the signature -------------------------------------------------------------------------------------


@pytest.fixture
def signing(world: MemoryWorld) -> MemoryWorld:
    """A world with a rollout, a key without a passphrase, and a project that knows it."""
    require_programs("ssh-keygen", package="openssh-client")
    key = make_key(world.root / ".ssh" / "id_ed25519")
    (world.root / ".celadon").mkdir()
    allow(world.root / ".celadon" / "allowed_signers", key)
    assert world.run("deploy", "v1", "--yes").exit == 0
    return world


def write(world: MemoryWorld) -> Path:
    ran = world.run("history", "1", "--html", "one.html")
    assert ran.exit == 0, ran.err
    return world.root / "one.html"


def test_a_certificate_is_signed_and_genuine(signing: MemoryWorld) -> None:
    ran = signing.run("history", "1", "--html", "one.html", "--json")
    assert ran.end["signed_by"].startswith("SHA256:")
    ran = signing.run("history", "--verify", "one.html")
    assert (ran.exit, ran.err) == (0, "")
    assert ran.out.startswith("genuine: signed by ada@example.com (SHA256:")
    end = signing.run("history", "--verify", "one.html", "--json").end
    assert (end["verified"], end["judgement"], end["signer"]) == (True, "genuine", "ada@example.com")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"0 of", b"1 of", 1),
        lambda text: text.replace(b"<main>", b"<main><p>and more</p>", 1),
        lambda text: text + b"<p>behind the signature</p>",
        lambda text: text + text[text.index(b"<!-- ssh signature") :],
        lambda text: text.replace(b"SSH SIGNATURE-----\n", b"SSH SIGNATURE-----\nAAAA", 1),
    ],
)
def test_a_changed_one_is_told(change: object, signing: MemoryWorld) -> None:
    file = write(signing)
    assert callable(change)
    changed = change(file.read_bytes())
    assert changed != file.read_bytes()
    file.write_bytes(changed)
    ran = signing.run("history", "--verify", "one.html", "--json")
    assert (ran.exit, ran.end["verified"], ran.end["judgement"]) == (2, False, "changed")
    assert "not what was signed" in ran.end["error"]["message"]


def test_an_unknown_signer_and_an_unsigned_one_are_told_apart(signing: MemoryWorld) -> None:
    write(signing)
    (signing.root / ".celadon" / "allowed_signers").unlink()
    ran = signing.run("history", "--verify", "one.html")
    assert ran.exit == 2
    assert "is nobody's in .celadon/allowed_signers" in ran.err
    assert "add: NAME ssh-ed25519 AAAA" in ran.err
    shutil.rmtree(signing.root / ".ssh")
    ran = signing.run("history", "1", "--html", "two.html")
    assert (ran.exit, "not signed: no SSH key is in the agent" in ran.err) == (0, True)
    assert "It is not signed" in (signing.root / "two.html").read_text()
    ran = signing.run("history", "--verify", "two.html", "--json")
    assert (ran.exit, ran.end["judgement"]) == (2, "unsigned")


def test_openssh_takes_the_file_apart_and_agrees(signing: MemoryWorld) -> None:
    """The commands of the how-to page, word for word."""
    file = write(signing)
    (signing.root / "allowed_signers").write_text((signing.root / ".celadon" / "allowed_signers").read_text())
    script = """
    sed '/^<!-- ssh signature$/,$d' one.html > page
    sed -n '/^-----BEGIN SSH/,/^-----END SSH/p' one.html > page.sig
    ssh-keygen -Y verify -f allowed_signers -I ada@example.com -n celadon-certificate -s page.sig < page
    """
    run = ["sh", "-ec", script]
    ran = subprocess.run(run, cwd=signing.root, capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 0, ran.stderr
    assert 'Good "celadon-certificate" signature for ada@example.com' in ran.stdout
    file.write_bytes(file.read_bytes().replace(b"0 of", b"2 of", 1))
    ran = subprocess.run(run, cwd=signing.root, capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode != 0


def test_what_openssh_signs_afterwards_is_genuine(signing: MemoryWorld) -> None:
    key = signing.root / ".ssh" / "id_ed25519"
    key.rename(signing.root / "key")
    file = write(signing)
    assert keygen("-Y", "sign", "-f", str(signing.root / "key"), "-n", "celadon-certificate", str(file)).returncode == 0
    assert signing.run("history", "--verify", "one.html").exit == 0
    file.write_bytes(file.read_bytes() + b" ")
    assert signing.run("history", "--verify", "one.html").exit == 2


def test_the_key_that_the_ssh_config_names_signs(signing: MemoryWorld) -> None:
    key = (signing.root / ".ssh" / "id_ed25519").rename(signing.root / "deploy")
    locked = make_key(signing.root / "locked", passphrase="long enough")
    config = signing.root / "ssh_config"
    config.write_text(f"Host 192.0.2.11\n  IdentityFile {locked}\n  IdentityFile {key}\n")
    ran = signing.run("history", "1", "--html", "one.html", environ={"CELADON_SSH_CONFIG": str(config)})
    assert ran.exit == 0, ran.err
    assert signing.run("history", "--verify", "one.html").exit == 0


def test_a_key_with_a_passphrase_leaves_it_unsigned_and_nobody_is_asked(signing: MemoryWorld) -> None:
    shutil.rmtree(signing.root / ".ssh")
    make_key(signing.root / ".ssh" / "id_ed25519", passphrase="long enough")
    ran = signing.run("history", "1", "--html", "one.html", "--json")
    assert (ran.exit, ran.end["signed_by"]) == (0, None)


def test_a_reader_needs_no_project(signing: MemoryWorld, tmp_path_factory: pytest.TempPathFactory) -> None:
    write(signing)
    elsewhere = tmp_path_factory.mktemp("reader")
    shutil.copy(signing.root / "one.html", elsewhere)
    shutil.copytree(signing.root / ".celadon", elsewhere / ".celadon")
    reader = MemoryWorld(elsewhere)
    (elsewhere / "celadon.toml").unlink()
    assert reader.run("history", "--verify", "one.html").exit == 0


def test_a_file_that_is_not_there_is_refused(world: MemoryWorld) -> None:
    ran = world.run("history", "--verify", "none.html")
    assert ran.exit == 2
    assert "cannot be read" in ran.err
