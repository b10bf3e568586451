"""`celadon tls push`: judged before anything is sent, on every https port, and no secret in what is printed."""

import asyncio
import datetime as dt
import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from celadon.adapters.certificates import covers, read_certificate
from celadon.core.errors import Refused
from tests.cli.test_infra_files import celadon
from tests.cli.worlds import Ran
from tests.lab.api.running import TOKEN, RunningLab, running_lab

CONFIG = """\
app = "shop"
image = "registry.example/acme/shop"
port = 5000
url = "https://shop.example.com"
health.path = "/"
[hosts]
blue = [{ ssh = "root@192.0.2.11", private = "192.168.130.11" }]
green = [{ ssh = "root@192.0.2.21", private = "192.168.130.21" }]
[balancer]
nodebalancer = "shop-nb"
"""
NOW = dt.datetime.now(dt.UTC)  # noqa: TID251 - the certificate's own clock is this machine's
DAY = dt.timedelta(days=1)


class Made:
    """A self-signed certificate and its key, as files."""

    def __init__(self, folder: Path, name: str = "shop.example.com", *, until: dt.datetime = NOW + 30 * DAY) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject).issuer_name(subject).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(until - 90 * DAY).not_valid_after(until)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(key, hashes.SHA256())
        )  # fmt: skip
        self.certificate = folder / "fullchain.pem"
        self.key = folder / "privkey.pem"
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.key.touch(mode=0o600)
        self.key.write_bytes(key.private_bytes(*form))

    @property
    def secret(self) -> str:
        return self.key.read_text().splitlines()[1]


async def push(lab: RunningLab, root: Path, *words: str, lineage: Path | None = None) -> Ran:
    environ = {"LINODE_URL": lab.url, "LINODE_TOKEN": TOKEN} | ({"RENEWED_LINEAGE": str(lineage)} if lineage else {})
    return await asyncio.to_thread(celadon, root, "tls", "push", *words, environ=environ)


async def balancer(lab: RunningLab, made: Made, *ports: int) -> list[str]:
    """Configs with this certificate; their paths."""
    path = await lab.balancer("shop-nb")
    tls = {"protocol": "https", "ssl_cert": made.certificate.read_text(), "ssl_key": made.key.read_text()}
    return [await lab.config(path, port=port, check_interval=5, check_timeout=3, **tls) for port in ports]


async def test_a_renewed_certificate_reaches_every_https_port_once(tmp_path: Path) -> None:
    (tmp_path / "celadon.toml").write_text(CONFIG)
    old, new = Made(tmp_path / "old"), Made(tmp_path / "new")
    async with running_lab() as lab:
        paths = await balancer(lab, old, 443, 8443)
        before = [(await lab.get(path))["ssl_fingerprint"] for path in paths]
        ran = await push(lab, tmp_path, "--json", lineage=new.folder)
        assert ran.exit == 0, ran.err
        assert (ran.end["pushed"], ran.end["unchanged"]) == ([443, 8443], [])
        after = [(await lab.get(path))["ssl_fingerprint"] for path in paths]
        assert all(x != y for x, y in zip(before, after, strict=True))
        again = await push(lab, tmp_path, "--json", lineage=new.folder)
        assert (again.end["pushed"], again.end["unchanged"]) == ([], [443, 8443])
    assert new.secret not in ran.out + ran.err + json.dumps(again.end)


async def test_nothing_is_sent_before_the_files_are_judged(tmp_path: Path) -> None:
    (tmp_path / "celadon.toml").write_text(CONFIG)
    old, new = Made(tmp_path / "old"), Made(tmp_path / "new")
    expired = Made(tmp_path / "expired", until=NOW - DAY)
    async with running_lab() as lab:
        (path,) = await balancer(lab, old, 443)
        before = await lab.get(path)
        mixed = await push(lab, tmp_path, "--certificate", str(new.certificate), "--key", str(old.key))
        late = await push(lab, tmp_path, "--certificate", str(expired.certificate), "--key", str(expired.key))
        half = await push(lab, tmp_path, "--key", str(old.key))
        none = await push(lab, tmp_path)
        assert await lab.get(path) == before
    assert [ran.exit for ran in (mixed, late, half, none)] == [2, 2, 2, 2]
    assert "is not the key of" in mixed.err
    assert "expired on" in late.err
    assert "RENEWED_LINEAGE" not in none.err
    assert old.secret not in mixed.err + late.err


async def test_a_balancer_without_https_and_a_certificate_for_another_name(tmp_path: Path) -> None:
    (tmp_path / "celadon.toml").write_text(CONFIG)
    other = Made(tmp_path / "other", "other.example.com")
    async with running_lab() as lab:
        await lab.balancer("shop-nb")
        ran = await push(lab, tmp_path, lineage=other.folder)
    assert ran.exit == 2
    assert "no https port" in ran.err
    assert "the certificate is for other.example.com, and url is shop.example.com" in ran.err


@pytest.mark.parametrize(
    "text", ["", "no pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "\xff"]
)
def test_what_is_no_certificate_is_refused(tmp_path: Path, text: str) -> None:
    made = Made(tmp_path)
    made.certificate.write_bytes(text.encode("latin-1"))
    with pytest.raises(Refused):
        read_certificate(made.certificate, made.key, utc=NOW.timestamp())


def test_what_is_no_key_is_refused_and_not_shown(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.key.write_text("-----BEGIN PRIVATE KEY-----\nsecret+words\n-----END PRIVATE KEY-----\n")
    with pytest.raises(Refused) as caught:
        read_certificate(made.certificate, made.key, utc=NOW.timestamp())
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_key_that_others_can_read_is_told(tmp_path: Path) -> None:
    made = Made(tmp_path)
    assert not read_certificate(made.certificate, made.key, utc=NOW.timestamp()).key_readable_by_others
    made.key.chmod(0o644)
    assert read_certificate(made.certificate, made.key, utc=NOW.timestamp()).key_readable_by_others


def test_which_names_a_browser_takes() -> None:
    assert covers(("*.example.com",), "shop.example.com")
    assert covers(("192.0.2.1",), "192.0.2.1")
    assert not covers(("*.example.com",), "a.b.example.com")
    assert not covers(("example.com",), "shop.example.com")
