"""`celadon tls push`: a renewed certificate to every https port of the NodeBalancer. Made for certbot's deploy hook."""

from pathlib import Path
from urllib.parse import urlsplit

from celadon.adapters.certificates import Certificate, covers, read_certificate
from celadon.cli.account import open_account
from celadon.cli.app import Need
from celadon.cli.call import Call
from celadon.cli.output import Result
from celadon.core.errors import Refused

NEEDED = ("nodebalancers:read_write",)


async def run(call: Call) -> Result:
    certificate_path, key_path = _paths(call)
    async with call.connected(Need(balancer=False)) as connected:
        # Everything is judged before anything is asked of the API.
        certificate = read_certificate(certificate_path, key_path, utc=connected.world.clock.utc())
        _warn(call, certificate)
        facts = await connected.world.balancer.read()
        async with open_account(call.environ, needed=NEEDED) as account:
            configs = await account.tls_configs(facts.id)
            if not configs:
                raise Refused(
                    f"{facts.label} has no https port, so there is nothing to renew",
                    hint="infra/: tls_certificate and tls_private_key make one",
                    where=facts.label,
                )
            pushed, same = [], []
            for config in configs:
                if (config.ssl_fingerprint or "").upper() == certificate.fingerprint:
                    same.append(config.port)
                    continue
                call.touched = True
                await account.push_certificate(facts.id, config.id, certificate.text, certificate.key)
                pushed.append(config.port)
                call.output.data(f"{facts.label} port {config.port}: {', '.join(certificate.names) or 'no name'}")
    if not pushed:
        call.output.data(f"{facts.label}: {_ports(same)} already has it; nothing was sent")
    keys = {"pushed": pushed, "unchanged": same, "names": list(certificate.names), "until": certificate.until}
    return Result(keys=keys)


def _paths(call: Call) -> tuple[Path, Path]:
    """As given; else where certbot's deploy hook says that the renewed files are."""
    certificate: Path | None = call.values["certificate"]
    key: Path | None = call.values["key"]
    if (certificate is None) is not (key is None):
        raise Refused("--certificate and --key belong together", hint="both come from one renewal")
    if certificate is not None and key is not None:
        return call.cwd / certificate, call.cwd / key
    lineage = call.environ.get("RENEWED_LINEAGE")
    if not lineage:
        raise Refused(
            "no certificate was named",
            hint="celadon tls push --certificate fullchain.pem --key privkey.pem",
        )
    return Path(lineage) / "fullchain.pem", Path(lineage) / "privkey.pem"


def _warn(call: Call, certificate: Certificate) -> None:
    host = urlsplit(call.project.config.url or "").hostname
    if host and not covers(certificate.names, host):
        call.output.warn(f"the certificate is for {', '.join(certificate.names) or 'nobody'}, and url is {host}")
    if certificate.key_readable_by_others:
        call.output.warn("others on this machine can read the key: chmod 600")


def _ports(ports: list[int]) -> str:
    return f"port {ports[0]}" if len(ports) == 1 else "each of ports " + ", ".join(str(port) for port in ports)
