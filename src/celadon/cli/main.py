"""The entry: from words to a verb. Help is answered from the table alone; only a verb that runs imports anything."""

import os
import sys

from celadon.cli.words import BY_NAME, GROUPS, Verb

WITH_VALUE = ("-c", "--config")
COMPLETION = "_CELADON_COMPLETE"


def run() -> None:
    """Answer the command line of this process."""
    if COMPLETION in os.environ:
        from celadon.cli.completion import answer  # noqa: PLC0415 - a shell asks, and wants nothing else

        raise SystemExit(answer(os.environ[COMPLETION]))
    arguments = sys.argv[1:]
    text = help_text(arguments, width=_width())
    if text is not None:
        print(text)
        return
    from celadon.cli.call import answer_process  # noqa: PLC0415 - only now is anything needed

    raise SystemExit(answer_process(arguments))


def help_text(arguments: list[str], *, width: int) -> str | None:
    """What `--help` prints; None when the words ask for something else."""
    words = arguments[: arguments.index("--")] if "--" in arguments else arguments
    asked = not arguments or "--help" in words or "-h" in words
    if not asked:
        return None
    from celadon.cli import help as helps  # noqa: PLC0415 - two files in all

    verb, group, _ = route([word for word in words if word not in ("--help", "-h")])
    if verb is not None:
        return helps.group(verb.name, width) if verb.name in GROUPS else helps.of(verb, width)
    return helps.group(group, width) if group in GROUPS else helps.top(width)


def route(arguments: list[str]) -> tuple[Verb | None, str, list[str]]:
    """(the verb, the word that was meant to be one, the other arguments). Options of every verb may come first."""
    index = 0
    while index < len(arguments) and arguments[index].startswith("-"):
        index += 2 if arguments[index] in WITH_VALUE else 1
    before, rest = arguments[:index], arguments[index:]
    if not rest:
        return None, "", before
    word, *others = rest
    if word in GROUPS and others and f"{word} {others[0]}" in BY_NAME:
        return BY_NAME[f"{word} {others[0]}"], word, before + others[1:]
    return BY_NAME.get(word), word, before + others


def _width() -> int:
    try:
        return max(40, min(110, os.get_terminal_size(sys.stdout.fileno()).columns))
    except (OSError, ValueError):
        return 100
