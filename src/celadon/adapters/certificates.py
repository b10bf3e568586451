"""A TLS certificate and its key, read from PEM files and judged before anything is sent: do they fit, is it in time?"""

import datetime as dt
import ipaddress
import stat
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization

from celadon.core.errors import Refused
from celadon.core.secret import Secret

LARGEST = 256 * 1024  # bytes; a long chain has 10 KB
OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Certificate(msgspec.Struct, frozen=True):
    """`text`: the certificate and its chain. `fingerprint`: as the API shows it (SHA-1, with colons)."""

    text: str
    key: Secret
    fingerprint: str
    names: tuple[str, ...]
    until: float  # seconds since 1970
    key_readable_by_others: bool = False


def read_certificate(certificate: Path, key: Path, *, utc: float) -> Certificate:
    """Raises Refused: not readable, not PEM, key of another certificate, expired, not yet valid, no chain order."""
    text, private = _text(certificate), _text(key)
    try:
        chain = x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        raise Refused(
            f"{certificate}: is not a PEM certificate", hint="certbot's is fullchain.pem", where=str(certificate)
        ) from None
    first = chain[0]
    _same_key(first, private, certificate, key)
    _in_time(first, certificate, utc)
    if len(chain) > 1 and first.issuer != chain[1].subject:
        raise Refused(
            f"{certificate}: the second certificate did not issue the first",
            hint="the order is: certificate, then its issuer (certbot's fullchain.pem)",
            where=str(certificate),
        )
    digest = first.fingerprint(hashes.SHA1())  # noqa: S303 - a name that the API shows, not a protection
    return Certificate(
        text=text,
        key=Secret(private),
        fingerprint=":".join(f"{byte:02X}" for byte in digest),
        names=_names(first),
        until=first.not_valid_after_utc.timestamp(),
        key_readable_by_others=bool(key.stat().st_mode & OTHERS),
    )


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise Refused(f"{path}: cannot be read: {error.strerror}", where=str(path)) from None
    if len(content) > LARGEST:
        raise Refused(f"{path}: is larger than {LARGEST // 1024} KiB, so it is no PEM file", where=str(path))
    try:
        return content.decode("ascii")
    except UnicodeDecodeError:
        raise Refused(f"{path}: is not PEM text", where=str(path)) from None


def _same_key(certificate: x509.Certificate, private: str, cert_path: Path, key_path: Path) -> None:
    try:
        key = serialization.load_pem_private_key(private.encode(), password=None)
    except TypeError:
        raise Refused(f"{key_path}: needs a passphrase, and a NodeBalancer knows none", where=str(key_path)) from None
    except (ValueError, UnsupportedAlgorithm):
        # Not chained: the library's error may quote the text.
        hint = "certbot's is privkey.pem"
        raise Refused(f"{key_path}: is not a PEM private key", hint=hint, where=str(key_path)) from None
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise Refused(
            f"{key_path}: is not the key of {cert_path}", hint="both come from one renewal", where=str(key_path)
        )


def _in_time(certificate: x509.Certificate, path: Path, utc: float) -> None:
    now = dt.datetime.fromtimestamp(utc, dt.UTC)
    if certificate.not_valid_after_utc <= now:
        when = certificate.not_valid_after_utc.date().isoformat()
        raise Refused(f"{path}: expired on {when}; nothing was sent", hint="certbot renew", where=str(path))
    if certificate.not_valid_before_utc > now:
        when = certificate.not_valid_before_utc.isoformat()
        raise Refused(f"{path}: is not valid before {when}", hint="is this machine's clock right?", where=str(path))


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return tuple(str(each.value) for each in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME))
    return (
        *found.get_values_for_type(x509.DNSName),
        *(str(each) for each in found.get_values_for_type(x509.IPAddress)),
    )


def covers(names: tuple[str, ...], host: str) -> bool:
    """Whether a browser that asks for `host` takes a certificate with these names."""
    try:
        return str(ipaddress.ip_address(host)) in names
    except ValueError:
        wild = "*." + host.partition(".")[2]
        return host.lower() in {name.lower() for name in names} or wild.lower() in {name.lower() for name in names}
