import pytest

from celadon.adapters.image_ref import ImageRef
from celadon.core.errors import Refused

SHA = "sha256:" + "4b" * 32


@pytest.mark.parametrize(
    ("image", "registry", "name", "host"),
    [
        ("ghcr.io/acme/hello", "ghcr.io", "acme/hello", "ghcr.io"),
        ("hello", "docker.io", "library/hello", "registry-1.docker.io"),
        ("acme/hello", "docker.io", "acme/hello", "registry-1.docker.io"),
        ("docker.io/acme/hello", "docker.io", "acme/hello", "registry-1.docker.io"),
        ("localhost/hello", "localhost", "hello", "localhost"),
        ("127.0.0.1:5000/a/b_c/d-e", "127.0.0.1:5000", "a/b_c/d-e", "127.0.0.1:5000"),
        ("[::1]:5000/hello", "[::1]:5000", "hello", "[::1]:5000"),
    ],
)
def test_names_are_read_as_docker_reads_them(image: str, registry: str, name: str, host: str) -> None:
    ref = ImageRef.parse(image, "v1")
    assert (ref.registry, ref.name, ref.reference, ref.api_host) == (registry, name, "v1", host)
    assert str(ref) == f"{registry}/{name}:v1"
    assert ref.pinned(SHA) == f"{registry}/{name}@{SHA}"


def test_a_digest_is_a_version_too() -> None:
    ref = ImageRef.parse("ghcr.io/acme/hello", SHA)
    assert ref.is_digest
    assert str(ref) == f"ghcr.io/acme/hello@{SHA}"


@pytest.mark.parametrize(
    "image",
    ["", "/", "Hello", "ghcr.io/", "ghcr.io/acme/hello:v1", "ghcr.io//hello", "a b", "-x/y.z", "ghcr.io/../etc",
     "ghcr.io/a?b", "user@evil.example/hello", "evil.example#/hello", "x" * 300, "ghcr.io/hello\n", "https://ghcr.io/a"],
)  # fmt: skip
def test_what_is_no_name_is_refused(image: str) -> None:
    with pytest.raises(Refused, match="not an image's name"):
        ImageRef.parse(image, "v1")


@pytest.mark.parametrize("version", ["", "-v", "v 1", "a/b", "sha256:12", "x" * 129, "v1\n", "../../x"])
def test_what_is_no_version_is_refused(version: str) -> None:
    with pytest.raises(Refused, match="neither a tag nor"):
        ImageRef.parse("ghcr.io/acme/hello", version)
