"""The name of an image, parsed once: `ghcr.io/acme/hello:v1.1.0`, `acme/hello`, `localhost:5000/hello@sha256:…`."""

import re
from typing import Final, Self

import msgspec

from celadon.adapters.http import quoted
from celadon.core.errors import Refused

DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
# The grammar of github.com/distribution/reference, as published; without its rarely used digest algorithms.
_HOST: Final = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")
_NAME: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
LONGEST = 255

DOCKER_HUB = "docker.io"


class ImageRef(msgspec.Struct, frozen=True):
    """`reference` is a tag or a `sha256:` digest."""

    registry: str  # host[:port], as written
    name: str
    reference: str

    @classmethod
    def parse(cls, image: str, version: str) -> Self:
        """`image` as in the config (no tag), `version` as the user typed it. Refused where either is malformed."""
        first, slash, rest = image.partition("/")
        if slash and ("." in first or ":" in first or first == "localhost" or first.startswith("[")):
            registry, name = first, rest
        else:  # Docker's own rule: a first part that cannot be a host is a name on Docker Hub
            registry, name = DOCKER_HUB, image if slash else f"library/{image}"
        if _HOST.fullmatch(registry) is None or _NAME.fullmatch(name) is None or len(image) > LONGEST:
            hint = "registry/name in lower case, without a tag: the version is deploy's argument"
            raise Refused(f"{quoted(image)!r} is not an image's name", hint=hint)
        if DIGEST.fullmatch(version) is None and _TAG.fullmatch(version) is None:
            raise Refused(f"{quoted(version)!r} is neither a tag nor a sha256 digest", where=image)
        return cls(registry, name, version)

    @property
    def is_digest(self) -> bool:
        return self.reference.startswith("sha256:")

    @property
    def api_host(self) -> str:
        """Where the registry's API is: Docker Hub has another name for it."""
        return "registry-1.docker.io" if self.registry == DOCKER_HUB else self.registry

    def pinned(self, digest: str) -> str:
        """What a release holds, and what is pulled."""
        return f"{self.registry}/{self.name}@{digest}"

    def __str__(self) -> str:
        return f"{self.registry}/{self.name}{'@' if self.is_digest else ':'}{self.reference}"
