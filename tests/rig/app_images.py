"""Small applications as images, put straight into a registry: the base layer, one layer of ours, a config.

Nothing is built or pushed: gzip of the base alone would cost a run ten seconds, and what a host pulls is the same.
"""

import gzip
import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from tests.rig.base_image import Layer, base_layer
from tests.rig.registry import CONFIG, LAYER, MANIFEST, Registry, digest_of

Variant = Literal[
    "good", "crash", "crash_later", "stubborn", "wrong_port", "loopback_only", "no_program",
    "never_ready", "errors", "three_times_as_slow", "leak",
]  # fmt: skip
SOURCE = Path(__file__).with_name("image_app.py")


class AppImages:
    """Makes images in one registry. Equal arguments give the same digest."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._base: Layer | None = None

    def publish(
        self,
        repository: str,
        tag: str = "v1",
        *,
        variant: Variant = "good",
        env: Mapping[str, str] | None = None,
        stop_signal: str | None = None,
        shell_form: bool = False,
        command: Sequence[str] = (),
        files: Mapping[str, bytes] | None = None,
    ) -> str:
        """Returns the digest: the image is `<registry>/<repository>@<digest>` for every listener of the registry.

        `command` and `files`: another application than the rig's own, by its paths in the image.
        """
        store = self._registry.store
        base = self._base_layer()
        plain = _tar({**(files or {"app/app.py": SOURCE.read_bytes()}), "app/tag": tag.encode()})
        packed = gzip.compress(plain, 1, mtime=0)
        program = "/no/such/program" if variant == "no_program" else "python3"
        config = {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine),
            "os": "linux",
            "config": {
                "Cmd": ["/bin/sh", "-c", f"{program} -u /app/app.py; exit"]
                if shell_form
                else list(command) or [program, "-u", "/app/app.py"],
                "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", f"VARIANT={variant}"]
                + [f"{name}={value}" for name, value in sorted((env or {}).items())],
                "WorkingDir": "/app",
                **({"StopSignal": stop_signal} if stop_signal else {}),
            },
            "rootfs": {"type": "layers", "diff_ids": [base.diff_id, digest_of(plain)]},
            "history": [{"created_by": "debootstrap"}, {"created_by": "tests/rig"}],
            "created": "2026-01-01T00:00:00Z",
        }
        content = json.dumps(config).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "size": len(content), "digest": store.add(content)},
            "layers": [
                {"mediaType": LAYER, "size": base.path.stat().st_size, "digest": base.digest},
                {"mediaType": LAYER, "size": len(packed), "digest": store.add(packed)},
            ],
        }
        return store.add_manifest(repository, tag, MANIFEST, json.dumps(manifest).encode())

    def _base_layer(self) -> Layer:
        if self._base is None:
            self._base = base_layer()
            self._registry.store.blobs[self._base.digest] = self._base.path
        return self._base


def _tar(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o644
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()
