"""Help, formatted from the table of verbs. Imports nothing else: it must be as fast as the interpreter's start."""

from celadon.cli.words import BY_NAME, EXITS, GLOBAL, SECTIONS, VERBS, Option, Verb

INDENT = "  "


def top(width: int) -> str:
    lines = [
        "Celadon deploys Python applications to Linode, behind a NodeBalancer, without losing a request.",
        "",
        "usage: celadon VERB [ARGUMENTS] [OPTIONS]",
    ]
    column = max(len(usage_name(verb)) for verb in VERBS) + 2
    for title, names in SECTIONS:
        lines += ["", title]
        lines += _rows([(usage_name(BY_NAME[name]), BY_NAME[name].summary) for name in names], column, width)
    lines += ["", "options of every verb"]
    lines += _options((*GLOBAL, Option("--version", "", "print the version")), width)
    lines += ["", "exit codes"]
    lines += _rows([(str(code), text) for code, text in EXITS], 4, width)
    lines += ["", "celadon VERB --help tells more. First time? celadon demo"]
    return "\n".join(lines)


def group(name: str, width: int) -> str:
    verbs = [verb for verb in VERBS if verb.name.split()[0] == name]
    column = max(len(usage_name(verb)) for verb in verbs) + 2
    rows = _rows([(usage_name(verb), verb.summary) for verb in verbs], column, width)
    return "\n".join([f"usage: celadon {name} …", "", *rows])


def of(verb: Verb, width: int) -> str:
    lines = [f"usage: celadon {usage_name(verb)}{' [OPTIONS]' if verb.options else ''}", ""]
    lines += _wrapped(verb.summary[:1].upper() + verb.summary[1:] + ".", width, "")
    if verb.more:
        lines += ["", *_wrapped(verb.more, width, "")]
    if verb.options:
        lines += ["", "options", *_options(verb.options, width)]
    return "\n".join([*lines, "", "options of every verb", *_options(GLOBAL, width)])


def usage_name(verb: Verb) -> str:
    before_command = "-- " if verb.name == "exec" else ""
    return " ".join([verb.name, *(before_command + argument.shown for argument in verb.arguments)])


def _options(options: tuple[Option, ...], width: int) -> list[str]:
    rows = [(", ".join(option.flags) + (f" {option.value}" if option.value else ""), option.help) for option in options]
    return _rows(rows, max(len(left) for left, _ in rows) + 2, width)


def _rows(rows: list[tuple[str, str]], column: int, width: int) -> list[str]:
    """Two columns; where the second would be too narrow to read, it goes below the first."""
    lines = []
    for left, right in rows:
        if width - column - len(INDENT) < 24:
            lines += [INDENT + left, *_wrapped(right, width, INDENT * 3)]
            continue
        first, *rest = _wrapped(right, width - column - len(INDENT), "")
        lines.append(INDENT + left.ljust(column) + first)
        lines += [INDENT + " " * column + line for line in rest]
    return lines


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    """By words. `textwrap` would do it, and costs a third of the whole answer."""
    lines, line = [], indent
    for word in text.split():
        longer = f"{line} {word}" if line.strip() else indent + word
        if len(longer) > width and line.strip():
            lines.append(line)
            line = indent + word
        else:
            line = longer
    return [*lines, line]
