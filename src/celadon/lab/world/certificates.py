"""What the API shows of a TLS certificate, and whether its key fits."""

from celadon.lab.world.objects import Json
from celadon.lab.world.problems import Problem


def read_certificate(cert: str, key: str) -> Json:
    """The config's fields `ssl_*`. `cert` and `key` are PEM; a chain may follow the certificate."""
    # Imported here: cryptography (asyncssh brings it) takes 40 ms that a lab without https need not spend.
    from cryptography import x509  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - see above

    try:
        read = x509.load_pem_x509_certificate(cert.encode())
    except ValueError:
        raise Problem("SSL certificate is not valid", "ssl_cert") from None
    try:
        private = serialization.load_pem_private_key(key.encode(), password=None)
    except (ValueError, TypeError):
        raise Problem("SSL key is not valid or needs a passphrase", "ssl_key") from None
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) != read.public_key().public_bytes(*form):
        raise Problem("SSL key does not belong to the certificate", "ssl_key")
    names = read.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    digest = read.fingerprint(hashes.SHA1())  # noqa: S303 - a name that the API shows, not a protection
    return {
        "ssl_cert": cert,
        "ssl_key": key,
        "ssl_commonname": str(names[0].value) if names else "",
        "ssl_fingerprint": ":".join(f"{byte:02X}" for byte in digest),
    }
