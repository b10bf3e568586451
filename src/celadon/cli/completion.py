"""The shell's questions while one types. click knows the protocol, the table of verbs knows the words."""

from click.shell_completion import get_completion_class, shell_complete

from celadon.cli.main import COMPLETION
from celadon.cli.parse import whole
from celadon.core.errors import Refused

SHELLS = ("bash", "zsh", "fish")


def answer(instruction: str) -> int:
    return shell_complete(whole(), {}, "celadon", COMPLETION, instruction)


def script(shell: str) -> str:
    """What the shell must read once."""
    if shell not in SHELLS:
        raise Refused(f"{shell!r} is not a shell that completion knows", hint=f"one of: {', '.join(SHELLS)}")
    kind = get_completion_class(shell)
    if kind is None:
        raise Refused(f"{shell} has no completion here")
    # click's bash class first starts bash to ask for its version; printing a script must start nothing.
    return kind(whole(), {}, "celadon", COMPLETION).source_template % {
        "complete_func": "_celadon_completion",
        "complete_var": COMPLETION,
        "prog_name": "celadon",
    }
