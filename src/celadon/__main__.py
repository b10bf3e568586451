"""The entry point. `--version` is answered before anything else is imported: it is run by scripts, often."""

import sys


def main() -> None:
    if sys.argv[1:] == ["--version"]:
        from celadon import __version__  # noqa: PLC0415 - nothing is imported that the answer does not need

        print(f"celadon {__version__}")  # noqa: T201 - this is the answer
        return
    from celadon.cli.main import run  # noqa: PLC0415 - see above

    run()


if __name__ == "__main__":
    main()
