"""Linode's own Python library, unmodified, through every operation of the lab. It is the lab's first judge."""

import time
from collections.abc import Callable, Iterator

import pytest
from linode_api4 import ApiError, LinodeClient, NodeBalancer, NodeBalancerNode
from linode_api4.objects import Disk, Event, Firewall, Image, Instance, NodeBalancerConfig, Region, SSHKey, Type
from tests.lab.api.running import DEADLINE_SECONDS, KEY, QUICK, RunningLab, lab_in_a_thread

from celadon.lab.api.app import Options

pytestmark = [
    # The library warns of its own fields (deprecated group, unknown attributes), of which a user can change nothing.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:linode_api4"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # it never closes its session
]


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    with lab_in_a_thread(Options(timing=QUICK, rate_scale=100)) as lab:
        yield lab


@pytest.fixture(scope="module")
def client(lab: RunningLab) -> Iterator[LinodeClient]:
    client = LinodeClient("lab-token", base_url=f"{lab.url}/v4", retry=False)
    yield client
    client.session.close()


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def create(client: LinodeClient, label: str) -> Instance:
    made = client.linode.instance_create(
        "g6-nanode-1",
        "us-ord",
        image="linode/debian12",
        label=label,
        authorized_keys=[KEY],
        private_ip=True,
        metadata=client.linode.build_instance_metadata(user_data="#cloud-config\n"),
    )
    eventually(lambda: bool(Instance(client, made.id).status == "running"))
    return Instance(client, made.id)


def test_what_is_the_same_for_everybody(client: LinodeClient) -> None:
    region = next(each for each in client.regions() if each.id == "us-ord")
    assert "VPCs" in region.capabilities
    assert Region(client, "us-ord").country == "us"
    assert Type(client, "g6-nanode-1").memory == 1024
    assert Type(client, "g6-nanode-1").price.monthly == 5.0
    assert client.linode.types(Type.label == "Nanode 1GB")[0].id == "g6-nanode-1"
    assert any(each.id == "linode/debian12" for each in client.images())
    assert "cloud-init" in Image(client, "linode/debian12").capabilities
    assert client.nodebalancers.types()[0].price.hourly == 0.015
    assert "linode/grub2" in [each.id for each in client.linode.kernels()]


def test_profile_keys_and_tokens(client: LinodeClient) -> None:
    assert client.profile().username == "lab"
    assert client.account().euuid
    assert client.account.settings().network_helper
    key = client.profile.ssh_key_upload(KEY, "admin")
    assert client.profile.ssh_keys()[0].ssh_key == KEY
    key.label = "boss"
    assert key.save()
    assert SSHKey(client, key.id).label == "boss"
    assert key.delete()
    token = client.profile.token_create(label="ci", scopes="linodes:read_only")
    assert token.token
    assert token.delete()


def test_the_life_of_an_instance(client: LinodeClient) -> None:
    instance = create(client, "api4-life")
    assert instance.ips.ipv4.private[0].address.startswith("192.168.")
    assert instance.ips.ipv4.public[0].address == instance.ipv4[0]
    assert instance.has_user_data
    assert instance.specs.memory == 1024
    (config,) = instance.configs
    assert config.kernel.id == "linode/grub2"
    assert {disk.filesystem for disk in instance.disks} == {"ext4", "swap"}
    instance.label = "api4-renamed"
    instance.tags = ["shop"]
    assert instance.save()
    assert client.linode.instances(Instance.label == "api4-renamed")[0].id == instance.id
    assert instance.shutdown()
    eventually(lambda: bool(Instance(client, instance.id).status == "offline"))
    assert instance.boot()
    eventually(lambda: bool(Instance(client, instance.id).status == "running"))
    assert instance.reboot()
    eventually(lambda: bool(Instance(client, instance.id).status == "running"))
    added = instance.ip_allocate(public=True)
    assert added.address in Instance(client, instance.id).ipv4
    assert instance.delete()
    with pytest.raises(ApiError) as missing:
        _ = Instance(client, instance.id).label
    assert missing.value.status == 404


def test_rebuild_configs_and_disks(client: LinodeClient) -> None:
    instance = create(client, "api4-parts")
    instance.rebuild("linode/ubuntu22.04", authorized_keys=[KEY])
    eventually(lambda: bool(Instance(client, instance.id).status == "running"))
    assert Instance(client, instance.id).image.id == "linode/ubuntu22.04"
    config = instance.config_create(label="rescue", kernel="linode/grub2", devices={"sda": {"disk_id": 1}})
    config.comments = "by hand"
    assert config.save()
    assert config.delete()
    assert not list(instance.volumes())
    swap = next(disk for disk in instance.disks if disk.filesystem == "swap")
    assert swap.delete()
    disk = instance.disk_create(size=256, label="data", filesystem="ext4")
    disk.label = "data-2"
    assert disk.save()
    assert Disk(client, disk.id, instance.id).label == "data-2"
    assert disk.delete()


def test_events_can_be_waited_for(client: LinodeClient) -> None:
    instance = create(client, "api4-events")
    poller = client.polling.event_poller_create("linode", "linode_reboot", entity_id=instance.id)
    instance.reboot()
    event = poller.wait_for_next_event_finished(timeout=int(DEADLINE_SECONDS), interval=0.02)
    assert (event.action, event.status) == ("linode_reboot", "finished")
    assert Event(client, event.id).entity.id == instance.id
    client.polling.wait_for_entity_free("linode", instance.id, timeout=int(DEADLINE_SECONDS), interval=1)
    client.account.events_mark_seen(event)
    assert Event(client, event.id).seen


def test_a_nodebalancer_with_configs_and_nodes(client: LinodeClient) -> None:
    instance = create(client, "api4-node")
    address = f"{instance.ips.ipv4.private[0].address}:5000"
    balancer = client.nodebalancers.create("us-ord", label="api4-edge", client_conn_throttle=5)
    config = balancer.config_create(
        port=80, protocol="http", check="http", check_path="/healthz", check_interval=5, check_timeout=3
    )
    node = config.node_create("blue-1", address, mode="reject")
    assert (node.weight, node.mode, node.status) == (50, "reject", "Unknown")
    node.mode = "accept"
    node.weight = 100
    assert node.save()
    unread = NodeBalancerNode(client, node.id, (config.id, balancer.id))
    unread.mode = "drain"
    assert unread.save()
    assert NodeBalancerNode(client, node.id, (config.id, balancer.id)).weight == 100
    assert [each.id for each in config.nodes] == [node.id]
    balancer.config_rebuild(
        config.id,
        port=80,
        protocol="http",
        algorithm="leastconn",
        nodes=[{"id": node.id, "address": address, "label": "blue-1", "mode": "accept"}],
    )
    assert NodeBalancerConfig(client, config.id, balancer.id).algorithm == "leastconn"
    assert NodeBalancerNode(client, node.id, (config.id, balancer.id)).mode == "accept"
    balancer.label = "api4-edge-2"
    assert balancer.save()
    assert client.nodebalancers(NodeBalancer.label == "api4-edge-2")[0].ipv4.address == balancer.ipv4.address
    assert [each.id for each in instance.nodebalancers()] == [balancer.id]
    with pytest.raises(ApiError, match="Stats are unavailable"):
        balancer.statistics()
    assert node.delete()
    assert config.delete()
    assert balancer.delete()


def test_firewalls(client: LinodeClient) -> None:
    instance = create(client, "api4-fenced")
    balancer = client.nodebalancers.create("us-ord", label="api4-fenced")
    rule = {
        "action": "ACCEPT",
        "protocol": "TCP",
        "ports": "22, 80-90",
        "label": "in-one",
        "addresses": {"ipv4": ["0.0.0.0/0"]},
    }
    rules = {"inbound": [rule], "outbound": [], "inbound_policy": "DROP", "outbound_policy": "ACCEPT"}
    firewall = client.networking.firewall_create("api4-wall", rules=rules, devices={"linodes": [instance.id]})
    assert firewall.get_rules()["inbound"][0]["ports"] == "22, 80-90"
    device = firewall.device_create(balancer.id, type="nodebalancer")
    assert {each.entity.id for each in firewall.devices} == {instance.id, balancer.id}
    assert [each.id for each in balancer.firewalls()] == [firewall.id]
    assert [each.id for each in instance.firewalls()] == [firewall.id]
    firewall.update_rules({**rules, "inbound": []})
    assert firewall.get_rules()["inbound"] == []
    firewall.status = "disabled"
    assert firewall.save()
    assert Firewall(client, firewall.id).status == "disabled"
    assert device.delete()
    assert firewall.delete()


def test_networks(client: LinodeClient) -> None:
    vpc = client.vpcs.create("api4-net", "us-ord", subnets=[{"label": "app", "ipv4": "10.20.0.0/24"}])
    subnet = vpc.subnet_create("data", ipv4="10.20.1.0/24")
    subnet.label = "data-2"
    assert subnet.save()
    assert [each.label for each in client.vpcs()[0].subnets] == ["app", "data-2"]
    assert subnet.delete()
    assert vpc.delete()


def test_domains(client: LinodeClient) -> None:
    with pytest.raises(ApiError, match="soa_email required when type=master"):
        client.domains.create("api4.example.com")
    domain = client.domains.create("api4.example.com", soa_email="hostmaster@example.com")
    record = domain.record_create("A", name="www", target="192.0.2.1", ttl_sec=290)
    assert record.ttl_sec == 300
    record.target = "192.0.2.2"
    assert record.save()
    assert domain.records[0].target == "192.0.2.2"
    assert record.delete()
    domain.status = "disabled"
    assert domain.save()
    assert domain.delete()


def test_tags_and_locks(client: LinodeClient) -> None:
    balancer = client.nodebalancers.create("us-ord", label="api4-tagged")
    tag = client.tag_create("api4-tag", nodebalancers=[balancer])
    assert [each.id for each in tag.objects] == [balancer.id]
    assert "api4-tag" in [each.label for each in client.tags()]
    assert tag.delete()
    lock = client.locks.create("nodebalancer", balancer.id, "cannot_delete")
    assert client.locks()[0].id == lock.id
    with pytest.raises(ApiError, match="lock"):
        balancer.delete()
    assert lock.delete()
    assert balancer.delete()


def test_an_error_arrives_as_the_library_knows_errors(client: LinodeClient) -> None:
    client.nodebalancers.create("us-ord", label="api4-twice")
    with pytest.raises(ApiError) as twice:
        client.nodebalancers.create("us-ord", label="api4-twice")
    assert (twice.value.status, twice.value.errors) == (400, ["Label must be unique"])
