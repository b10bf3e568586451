"""The things an account holds, as frozen values. Field names are the API's where it shows the field.

Views that add what is derived (a node's status, counts) are made in `lab/api`.
"""

from typing import Any, Literal

import msgspec

from celadon.lab.parts import Mode

Json = dict[str, Any]
JobKind = Literal["create", "boot", "shutdown", "reboot", "rebuild", "delete"]
EventStatus = Literal["scheduled", "started", "finished", "failed", "notification"]
EntityType = Literal["linode", "nodebalancer"]


class Item(msgspec.Struct, frozen=True):
    """Everything in a table has an id, unique in the whole account: a mixed-up id can never fit by chance."""

    id: int


class Instance(Item, frozen=True, kw_only=True):
    label: str
    region: str
    type: str
    image: str | None
    status: str
    ipv4: tuple[str, ...]  # the public one first; the private one, if any, follows
    ipv6: str
    created: str
    updated: str
    host_uuid: str
    tags: tuple[str, ...] = ()
    group: str = ""
    rdns: dict[str, str] = {}  # by address; others have the name that Linode gives
    user_data: str = ""  # as it was sent: base64
    authorized_keys: tuple[str, ...] = ()
    watchdog_enabled: bool = True
    alerts: Json = {}
    backups_enabled: bool = False
    disk_encryption: str = "enabled"
    interface_generation: str = "legacy_config"
    maintenance_policy: str = "linode/migrate"

    @property
    def private_address(self) -> str:
        return next((address for address in self.ipv4 if address.startswith("192.168.")), "")


class Disk(Item, frozen=True, kw_only=True):
    linode_id: int
    label: str
    size: int  # MB
    filesystem: str
    created: str
    updated: str
    status: str = "ready"
    disk_encryption: str = "enabled"


class InstanceConfig(Item, frozen=True, kw_only=True):
    linode_id: int
    label: str
    devices: Json
    kernel: str = "linode/grub2"
    comments: str = ""
    memory_limit: int = 0
    run_level: str = "default"
    virt_mode: str = "paravirt"
    root_device: str = "/dev/sda"
    helpers: Json = {}
    interfaces: tuple[Json, ...] = ()


class Balancer(Item, frozen=True, kw_only=True):
    label: str
    region: str
    hostname: str
    ipv4: str
    ipv6: str
    created: str
    updated: str
    client_conn_throttle: int = 0
    client_udp_sess_throttle: int = 0
    tags: tuple[str, ...] = ()
    type: str = "common"


class Config(Item, frozen=True, kw_only=True):
    nodebalancer_id: int
    port: int = 80
    protocol: Literal["http", "https", "tcp"] = "http"
    algorithm: Literal["roundrobin", "leastconn", "source"] = "roundrobin"
    stickiness: Literal["none", "table", "http_cookie"] = "none"
    check: Literal["none", "connection", "http", "http_body"] = "none"
    check_interval: int = 31
    check_timeout: int = 30
    check_attempts: int = 3
    check_path: str = ""
    check_body: str = ""
    check_passive: bool = True
    proxy_protocol: Literal["none", "v1", "v2"] = "none"
    cipher_suite: Literal["recommended", "legacy"] = "recommended"
    udp_check_port: int = 80
    ssl_cert: str | None = None
    ssl_key: str | None = None
    ssl_commonname: str = ""
    ssl_fingerprint: str = ""


class Node(Item, frozen=True, kw_only=True):
    nodebalancer_id: int
    config_id: int
    label: str
    address: str  # IPv4:port
    weight: int = 50
    mode: Mode = "accept"
    vpc_config_id: int | None = None


class BalancerVpc(Item, frozen=True, kw_only=True):
    """A subnet that a NodeBalancer reaches its nodes through."""

    nodebalancer_id: int
    vpc_id: int
    subnet_id: int
    ipv4_range: str
    purpose: str = "backend"


class Firewall(Item, frozen=True, kw_only=True):
    label: str
    created: str
    updated: str
    status: str = "enabled"
    tags: tuple[str, ...] = ()
    inbound: tuple[Json, ...] = ()
    outbound: tuple[Json, ...] = ()
    inbound_policy: str = "ACCEPT"
    outbound_policy: str = "ACCEPT"
    version: int = 1


class FirewallDevice(Item, frozen=True, kw_only=True):
    firewall_id: int
    entity_id: int
    entity_type: EntityType
    created: str
    updated: str


class Vpc(Item, frozen=True, kw_only=True):
    label: str
    region: str
    created: str
    updated: str
    description: str = ""


class Subnet(Item, frozen=True, kw_only=True):
    vpc_id: int
    label: str
    ipv4: str
    created: str
    updated: str


class Domain(Item, frozen=True, kw_only=True):
    domain: str
    type: Literal["master", "slave"]
    soa_email: str = ""
    status: str = "active"
    description: str = ""
    group: str = ""
    tags: tuple[str, ...] = ()
    ttl_sec: int = 0
    retry_sec: int = 0
    refresh_sec: int = 0
    expire_sec: int = 0
    master_ips: tuple[str, ...] = ()
    axfr_ips: tuple[str, ...] = ()
    created: str = ""
    updated: str = ""


class Record(Item, frozen=True, kw_only=True):
    domain_id: int
    type: str
    created: str
    updated: str
    name: str = ""
    target: str = ""
    priority: int = 0
    weight: int = 0
    port: int = 0
    service: str | None = None
    protocol: str | None = None
    ttl_sec: int = 0
    tag: str | None = None


class SshKey(Item, frozen=True, kw_only=True):
    label: str
    ssh_key: str
    created: str


class Token(Item, frozen=True, kw_only=True):
    """A personal access token; the account keeps only the hash of its secret."""

    label: str
    scopes: str
    digest: str
    shown: str  # the first characters, as the API shows them
    created: str
    expiry: str = "2999-12-31T00:00:00"


class Lock(Item, frozen=True, kw_only=True):
    entity_id: int
    entity_type: EntityType
    lock_type: Literal["cannot_delete", "cannot_delete_with_subresources"]


class Tag(Item, frozen=True, kw_only=True):
    """A tag made by itself; tags of objects live on the objects."""

    label: str


class Event(Item, frozen=True, kw_only=True):
    action: str
    created: str
    status: EventStatus
    entity: Json | None
    secondary_entity: Json | None = None
    percent_complete: int = 0
    duration: float | None = None
    message: str = ""
    seen: bool = False
    read: bool = False


class Job(Item, frozen=True, kw_only=True):
    """Something an instance is in the middle of. Kept, so that a restarted lab goes on with it."""

    kind: JobKind
    linode_id: int
    event_id: int
    boot: bool = True  # create, rebuild: whether it ends running


class HeldPort(Item, frozen=True, kw_only=True):
    """The port of a deleted config that is not free yet (a switch)."""

    nodebalancer_id: int
    port: int
    until: float  # seconds of the epoch
