"""From words to a verb's values, by click. The commands are made from the table of verbs, one when it is needed."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from celadon.cli.words import BY_NAME, GLOBAL, GROUPS, VERBS, Argument, Option, Verb
from celadon.config.values import duration
from celadon.core.errors import Refused


class DurationType(click.ParamType):  # type: ignore[type-arg]  # generic only in newer clicks
    """`15m`, as in celadon.toml."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return duration(str(value))
        except Refused as error:
            self.fail(f"{error.message}; {error.hint}", param, ctx)


KINDS: dict[str, Any] = {
    "text": click.STRING,
    "whole": click.IntRange(min=0),
    "file": click.Path(path_type=Path),
    "duration": DurationType(),
}


def parse(verb: Verb, arguments: list[str]) -> dict[str, Any]:
    """The verb's values by name. Raises `Refused` for words that it does not take."""
    try:
        with command(verb).make_context(f"celadon {verb.name}", list(arguments)) as context:
            return dict(context.params)
    except click.UsageError as error:
        message = re.sub(r"\.$", "", error.format_message())
        hint = f"celadon {verb.name} --help"
        raise Refused(message[:1].lower() + message[1:], hint=hint, where=f"celadon {verb.name}") from None


def command(verb: Verb) -> click.Command:
    own = {flag for option in verb.options for flag in option.flags}
    parameters: list[click.Parameter] = [_argument(argument) for argument in verb.arguments]
    parameters += [_option(option, ()) for option in verb.options]
    parameters += [_option(option, own) for option in GLOBAL]  # `logs -f` and the like keep their letters
    settings = {"ignore_unknown_options": False, "allow_interspersed_args": verb.name != "exec"}
    return click.Command(
        verb.name.split()[-1],
        params=parameters,
        context_settings=settings,
        add_help_option=False,
        help=verb.summary,
        short_help=verb.summary,
    )


def whole() -> click.Group:
    """All verbs, for the shell's completion."""
    root = click.Group("celadon", params=[_option(option, ()) for option in GLOBAL])
    for name in GROUPS:
        root.add_command(click.Group(name, invoke_without_command=name in BY_NAME))
    for verb in VERBS:
        group, _, inner = verb.name.rpartition(" ")
        if group:
            parent = root.commands[group]
            assert isinstance(parent, click.Group)  # noqa: S101 - made above; for the type checker
            parent.add_command(command(verb), inner)
        elif verb.name not in GROUPS:
            root.add_command(command(verb))
    return root


def _argument(argument: Argument) -> click.Argument:
    name = argument.name.lower()
    nargs = -1 if argument.many else 1
    return click.Argument([name], required=argument.required, nargs=nargs, metavar=argument.name)


def _option(option: Option, taken: frozenset[str] | set[str] | tuple[()]) -> click.Option:
    flags = [flag for flag in option.flags if flag not in taken]
    if not option.value:
        return click.Option([option.name, *flags], is_flag=True, help=option.help)
    return click.Option([option.name, *flags], type=KINDS[option.kind], metavar=option.value, help=option.help)
