"""What a lab writes for SSH, and the host key that an instance was given."""

import asyncssh
from tests.lab.addresses import own_address
from tests.lab.machines.conftest import Site

from celadon.lab.parts import Machine

USER_DATA = """\
#cloud-config
ssh_keys:
  ed25519_private: |
    {key}
  ed25519_public: ssh-ed25519 AAAA
packages: [docker.io]
"""


async def test_a_host_key_in_the_user_data_is_the_hosts_and_nobody_else_is_told(site: Site) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    private = key.export_private_key().decode().strip().replace("\n", "\n    ")
    public = site.key.export_public_key().decode().strip()
    given = Machine(7, "given", own_address(), "192.168.128.7", (public,), USER_DATA.format(key=private))
    await site.machines.create(given)
    await site.add(8)
    words = key.export_public_key().decode().split()[:2]
    assert site.machines.host_key(7) == " ".join(words)
    known = (site.paths.root / "known_hosts").read_text()
    assert site.machines.host_key(8) in known
    assert given.address not in known
    config = (site.paths.root / "ssh_config").read_text()
    assert f"Host given {given.address}\n" in config
    assert f"  Port {site.machines.ssh_port(7)}\n" in config
    await site.machines.delete(7)
    assert "given" not in (site.paths.root / "ssh_config").read_text()


async def test_user_data_without_a_key_or_with_a_broken_one_leaves_the_lab_to_make_one(site: Site) -> None:
    broken = "-----BEGIN OPENSSH PRIVATE KEY-----\n    AAAA\n    -----END OPENSSH PRIVATE KEY-----"
    for number, data in ((7, "#cloud-config\n"), (8, USER_DATA.format(key=broken))):
        await site.machines.create(Machine(number, f"web-{number}", own_address(), "", (), data))
        assert site.machines.host_key(number).startswith("ssh-ed25519 AAAA")
