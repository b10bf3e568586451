"""Help, completion, parsing: what is answered before anything is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import celadon
from celadon.cli import help as helps
from celadon.cli.completion import script
from celadon.cli.main import help_text, route
from celadon.cli.parse import parse, whole
from celadon.cli.words import BY_NAME, SECTIONS, VERBS
from celadon.core.errors import Refused
from tests.cli.worlds import MemoryWorld

HEAVY = ("click", "rich", "asyncssh", "aiohttp", "msgspec", "asyncio", "celadon.cli.call", "celadon.config", "typing")


@pytest.mark.parametrize("words", [["--help"], [], ["deploy", "--help"], ["hosts", "-h"], ["config", "--help"]])
def test_help_imports_nothing_that_it_does_not_need(words: list[str]) -> None:
    program = (
        "import sys\n"
        f"sys.argv = ['celadon', *{words!r}]\n"
        "from celadon.__main__ import main\n"
        "main()\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", _with_path(program)], capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith((b"Celadon deploys", b"usage: celadon"))
    assert ran.stderr.decode().strip() == "[]"


def _with_path(program: str) -> str:
    return f"import sys\nsys.path.insert(0, {str(Path(celadon.__file__).parents[1])!r})\n{program}"


def test_every_verb_is_in_the_top_help_once() -> None:
    named = [name for _, names in SECTIONS for name in names]
    assert sorted(named) == sorted(verb.name for verb in VERBS)


@pytest.mark.parametrize("width", [40, 60, 100])
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_help_fits_narrow_terminals(verb: object, width: int) -> None:
    name = getattr(verb, "name", "")
    longest = max(len(line) for line in helps.of(BY_NAME[name], width).splitlines())
    usage = len(helps.of(BY_NAME[name], width).splitlines()[0])  # one line, to be copied
    assert longest <= max(width, usage)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_verb_has_its_file(verb: object) -> None:
    module = getattr(verb, "module", "")
    assert (Path(helps.__file__).parent / "verbs" / f"{module}.py").is_file()


def test_options_of_every_verb_may_stand_anywhere() -> None:
    for words in (["-c", "x.toml", "deploy", "v1", "--json"], ["deploy", "v1", "--json", "-c", "x.toml"]):
        verb, _, rest = route(words)
        assert verb is BY_NAME["deploy"]
        values = parse(BY_NAME["deploy"], rest)
        assert (str(values["config"]), values["json"], values["version"]) == ("x.toml", True, "v1")


def test_what_follows_two_dashes_is_the_commands_own() -> None:
    assert help_text(["exec", "--", "ls", "--help"], width=80) is None
    values = parse(BY_NAME["exec"], ["--host", "h", "--", "ls", "-c", "--json"])
    assert (values["argv"], values["json"], values["config"]) == (("ls", "-c", "--json"), False, None)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["deply"], "did you mean `celadon deploy`?"),
        (["deploy", "--hodl"], "--hold"),
        (["deploy", "v1", "v2"], "unexpected extra argument"),
        (["deploy", "--queue", "15"], "is not a duration"),
        (["logs", "-n", "-1"], "-1"),
        (["config"], "celadon config show"),
        (["exec"], "ARGV"),
    ],
)
def test_words_that_mean_nothing_are_refused(world: MemoryWorld, words: list[str], told: str) -> None:
    ran = world.run(*words)
    assert ran.exit == 2
    assert ran.out == ""
    assert ran.err.startswith("error: ")
    assert told in ran.err
    assert world.needs == []


def test_a_wrong_word_is_told_as_json_when_json_is_asked_for(world: MemoryWorld) -> None:
    end = world.run("deply", "--json").end
    assert (end["result"], end["exit"], end["error"]["code"]) == ("refused", 2, "refused")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_ask_celadon(shell: str) -> None:
    assert "_CELADON_COMPLETE" in script(shell)


def test_completion_of_an_unknown_shell_is_refused() -> None:
    with pytest.raises(Refused):
        script("tcsh")


def test_the_shell_is_told_verbs_and_options() -> None:
    environ = {**os.environ, "_CELADON_COMPLETE": "bash_complete", "COMP_WORDS": "celadon de", "COMP_CWORD": "1"}
    ran = subprocess.run([sys.executable, "-m", "celadon"], env=environ, capture_output=True, text=True, check=False)
    assert sorted(ran.stdout.split()) == ["plain,demo", "plain,deploy"]
    assert {"hold", "plan", "json"} <= {param.name for param in whole().commands["deploy"].params}
