"""A program that is started as `terraform`: it answers as it was told to, and notes how it was called.

`plan.json` beside it is what `show` prints; `says` are the JSON Lines of plan and apply; `waits` makes apply wait for
SIGINT, and end then as Terraform does: exit code 1, with its state written.
"""

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

SCRIPT = """\
#!{python}
import json, signal, sys, time
from pathlib import Path
here = Path({here!r})
word = sys.argv[2]
with (here / "calls").open("a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
told = json.loads((here / "told.json").read_text())
stopped = []
signal.signal(signal.SIGINT, lambda *_: stopped.append(1))
for line in told["says"].get(word, []):
    print(json.dumps(line), flush=True)
if word == "plan":
    out = next(each for each in sys.argv if each.startswith("-out="))
    Path(out.removeprefix("-out=")).write_text("a plan")
if word == "show":
    print((here / "plan.json").read_text())
if word == "output":
    if not (here / "output.json").exists():
        sys.stderr.write('Error: Output "celadon" not found')
        sys.exit(1)
    print((here / "output.json").read_text())
if word == "apply":
    assert Path(sys.argv[-1]).read_text() == "a plan"
    deadline = time.monotonic() + 60
    while told["waits"] and not stopped and time.monotonic() < deadline:
        time.sleep(0.02)
    (here / "state").write_text("written")
sys.stderr.write(told["stderr"])
sys.exit(told["exits"].get(word, 1 if stopped else 0))
"""


class FakeTerraform:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.told: dict[str, Any] = {"says": {}, "exits": {}, "stderr": "", "waits": False}
        script = folder / "terraform"
        script.write_text(SCRIPT.format(python=sys.executable, here=str(folder)))
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        self.tell()

    def tell(self, **told: Any) -> None:
        self.told |= told
        (self.folder / "told.json").write_text(json.dumps(self.told))

    @property
    def environ(self) -> dict[str, str]:
        return {"PATH": f"{self.folder}{os.pathsep}{os.environ.get('PATH', '')}"}

    @property
    def calls(self) -> list[list[str]]:
        path = self.folder / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
