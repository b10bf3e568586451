"""Runs linode-cli's own `main` for one command after another, in one process: it takes 0.4 s to start.

Reads a JSON list of arguments a line from stdin; answers a JSON object a line: exit code and what was written. The
package is as it was installed; nothing of it is replaced.
"""

import io
import json
import sys
from collections.abc import Callable


def run(main: Callable[[], None], arguments: list[str], written: io.StringIO) -> dict[str, object]:
    sys.argv[:] = ["linode-cli", *arguments]
    written.seek(0)
    written.truncate()
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    return {"code": 0 if code is None else code, "out": written.getvalue()}


def serve() -> None:
    answers = sys.stdout
    sys.argv[:] = ["linode-cli"]
    # Before the import: linode-cli takes its outputs then, once. It also reads the environment and sys.argv there.
    sys.stdout = sys.stderr = written = io.StringIO()
    from linodecli import main  # noqa: PLC0415 - see above

    for line in sys.stdin:
        answers.write(json.dumps(run(main, json.loads(line), written)) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
