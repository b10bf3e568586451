"""What the provider's schema as data does not say: what forces a replacement, defaults, what the service sets anew.

From the public source of terraform-provider-linode 3.13. Facts only.
"""

from typing import Any

# Paths whose change makes Terraform destroy the object and make another.
FORCE_NEW: dict[str, tuple[str, ...]] = {
    "linode_instance": (
        "image", "authorized_keys", "authorized_users", "metadata.user_data", "firewall_id", "stackscript_id",
        "stackscript_data", "backup_id", "ipv4", "interface_generation", "network_helper", "disk_encryption",
    ),
    "linode_nodebalancer": ("region", "firewall_id", "vpcs"),
    "linode_nodebalancer_config": ("nodebalancer_id",),
    "linode_nodebalancer_node": ("nodebalancer_id", "config_id", "subnet_id"),
    "linode_firewall": (),
    "linode_domain": ("type",),
    "linode_domain_record": ("domain_id", "record_type"),
    "linode_sshkey": ("ssh_key",),
    "linode_vpc": ("region", "ipv6"),
    "linode_vpc_subnet": ("vpc_id", "ipv4", "ipv6"),
}  # fmt: skip

# What holds where the configuration is silent.
DEFAULTS: dict[str, dict[str, Any]] = {
    "linode_instance": {
        "type": "g6-standard-1",
        "resize_disk": False,
        "watchdog_enabled": True,
        "migration_type": "cold",
        "placement_group_externally_managed": False,
    },
    "linode_nodebalancer": {"region": "us-east", "client_conn_throttle": 0, "client_udp_sess_throttle": 0},
    "linode_nodebalancer_config": {
        "port": 80,
        "protocol": "http",
        "proxy_protocol": "none",
        "check_passive": True,
        "udp_check_port": 80,
    },
    "linode_nodebalancer_node": {"mode": "accept", "weight": 50},
    "linode_firewall": {"disabled": False},
    "linode_domain": {},
    "linode_domain_record": {},
    "linode_sshkey": {},
    "linode_vpc": {},
    "linode_vpc_subnet": {},
}

# Computed values that any change of the object may change with it; all others stay as they were read.
VOLATILE: dict[str, tuple[str, ...]] = {
    "linode_instance": (),
    "linode_nodebalancer": ("updated", "transfer", "firewalls"),
    "linode_nodebalancer_config": ("node_status", "ssl_commonname", "ssl_fingerprint"),
    "linode_nodebalancer_node": ("status", "vpc_config_id"),
    "linode_firewall": ("updated", "devices", "linodes", "nodebalancers", "interfaces", "status"),
    "linode_domain": (),
    "linode_domain_record": (),
    "linode_sshkey": (),
    "linode_vpc": ("updated",),
    "linode_vpc_subnet": ("updated", "linodes", "nodebalancers", "databases"),
}

# Resources on the older SDK: their answers may differ from the plan, and null is the same as zero.
LEGACY = ("linode_instance", "linode_domain", "linode_domain_record")
