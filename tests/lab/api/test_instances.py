"""Instances: their passing statuses, what they own, and what goes with them."""

import base64
from typing import Any

from tests.lab.api.running import KEY, RunningLab, running_lab

from celadon.lab.api.app import Options
from celadon.lab.runner import Timing

Json = dict[str, Any]
WANTED: Json = {"region": "us-ord", "type": "g6-nanode-1", "image": "linode/debian12", "authorized_keys": [KEY]}
SLOW = Options(timing=Timing(provision_seconds=600, boot_seconds=600))


async def test_a_new_instance_passes_through_its_statuses(lab: RunningLab) -> None:
    made = await lab.post("/v4/linode/instances", {**WANTED, "label": "web-1", "private_ip": True})
    assert made["status"] == "provisioning"
    public, private = made["ipv4"]
    assert public.startswith("127.1.")
    assert private.startswith("192.168.128.")
    seen = []

    def running() -> bool:
        status = lab.account.state.instances[made["id"]].status
        if status not in seen:
            seen.append(status)
        return status == "running" and not lab.account.state.jobs

    await lab.eventually(running)
    assert seen == ["provisioning", "booting", "running"]
    assert lab.machines.log == [("create", made["id"]), ("boot", made["id"])]
    machine = lab.machines.machines[made["id"]]
    assert (machine.address, machine.private_address, machine.authorized_keys) == (public, private, (KEY,))


async def test_its_event_is_scheduled_started_finished(lab: RunningLab) -> None:
    made = await lab.instance("web-1")
    asked = f'{{"entity.id": {made["id"]}, "action": "linode_create"}}'
    (event,) = (await lab.get("/v4/account/events", where=asked))["data"]
    assert (event["status"], event["percent_complete"], event["entity"]["label"]) == ("finished", 100, "web-1")
    assert event["secondary_entity"]["id"] == "linode/debian12"


async def test_an_instance_has_every_field_the_provider_reads(lab: RunningLab) -> None:
    made = await lab.instance("web-1", metadata={"user_data": base64.b64encode(b"#cloud-config\n").decode()})
    assert made["has_user_data"]
    assert "user_data" not in made
    assert lab.machines.machines[made["id"]].user_data == "#cloud-config\n"
    for name in ("specs", "alerts", "backups", "capabilities", "locks", "host_uuid", "tags", "ipv6"):
        assert made[name] is not None, name
    assert made["backups"]["schedule"] == {"day": None, "window": None}
    assert made["placement_group"] is None
    for name in ("disk_encryption", "interface_generation", "maintenance_policy"):
        assert isinstance(made[name], str)
    addresses = await lab.get(f"/v4/linode/instances/{made['id']}/ips")
    assert {name: len(rows) for name, rows in addresses["ipv4"].items()} == {
        "public": 1,
        "private": 1,
        "shared": 0,
        "reserved": 0,
        "vpc": 0,
    }
    assert addresses["ipv6"].keys() == {"link_local", "slaac", "global", "vpc"}


async def test_one_config_and_two_disks_with_different_labels(lab: RunningLab) -> None:
    path = f"/v4/linode/instances/{(await lab.instance('web-1'))['id']}"
    (config,) = (await lab.get(f"{path}/configs"))["data"]
    disks = (await lab.get(f"{path}/disks"))["data"]
    assert config["label"] == "My Debian 12 Disk Profile"
    assert (config["kernel"], config["root_device"], config["interfaces"]) == ("linode/grub2", "/dev/sda", [])
    assert config["devices"]["sda"]["disk_id"] == disks[0]["id"]
    assert config["devices"]["sdb"]["disk_id"] == disks[1]["id"]
    assert [disk["filesystem"] for disk in disks] == ["ext4", "swap"]
    assert disks[0]["label"] != disks[1]["label"]
    assert disks[1]["size"] == 512
    assert await lab.put(f"{path}/configs/{config['id']}", {"comments": "x"}) == {**config, "comments": "x"}


async def test_without_an_image_it_stays_offline(lab: RunningLab) -> None:
    made = await lab.post("/v4/linode/instances", {"region": "us-ord", "type": "g6-nanode-1", "label": "bare"})
    assert (await lab.settled(made["id"]))["status"] == "offline"
    assert (await lab.refused("POST", f"/v4/linode/instances/{made['id']}/boot"))[0] == 400


async def test_booted_false_stays_offline_until_boot(lab: RunningLab) -> None:
    made = await lab.instance("web-1", booted=False)
    path = f"/v4/linode/instances/{made['id']}"
    assert made["status"] == "offline"
    assert await lab.post(f"{path}/boot") == {}
    assert (await lab.get(path))["status"] == "booting"
    assert (await lab.settled(made["id"]))["status"] == "running"
    assert "already booted" in (await lab.refused("POST", f"{path}/boot"))[2]


async def test_shutdown_and_reboot_end_the_machine(lab: RunningLab) -> None:
    made = await lab.instance("web-1")
    path = f"/v4/linode/instances/{made['id']}"
    assert await lab.post(f"{path}/shutdown") == {}
    assert (await lab.get(path))["status"] == "shutting_down"
    assert (await lab.settled(made["id"]))["status"] == "offline"
    assert not lab.machines.running
    await lab.post(f"{path}/boot")
    await lab.settled(made["id"])
    lab.machines.log.clear()
    await lab.post(f"{path}/reboot")
    assert (await lab.get(path))["status"] == "rebooting"
    assert (await lab.settled(made["id"]))["status"] == "running"
    assert [verb for verb, _ in lab.machines.log] == ["shutdown", "boot"]


async def test_while_it_works_it_is_busy(lab: RunningLab) -> None:
    made = await lab.post("/v4/linode/instances", {**WANTED, "label": "web-1"})
    for verb in ("boot", "reboot", "shutdown"):
        refused = await lab.refused("POST", f"/v4/linode/instances/{made['id']}/{verb}")
        assert refused == (400, None, "Linode busy.")


async def test_deleting_takes_its_nodes_along_silently(lab: RunningLab) -> None:
    one, two = await lab.instance("web-1"), await lab.instance("web-2")
    config = await lab.config(await lab.balancer())
    for made in (one, two):
        await lab.post(f"{config}/nodes", {"label": made["label"], "address": f"{made['ipv4'][1]}:5000"})
    wall = await lab.post(
        "/v4/networking/firewalls", {"label": "wall", "rules": {}, "devices": {"linodes": [one["id"]]}}
    )
    await lab.delete(f"/v4/linode/instances/{one['id']}")
    (left,) = (await lab.get(f"{config}/nodes"))["data"]
    assert left["label"] == "web-2"
    assert (await lab.refused("GET", f"/v4/linode/instances/{one['id']}"))[0] == 404
    assert (await lab.get(f"/v4/networking/firewalls/{wall['id']}/devices"))["results"] == 0
    told = lab.plane.applied[-1].configs[0].nodes
    assert [each.address for each in told] == [f"{two['ipv4'][1]}:5000"]
    await lab.eventually(lambda: one["id"] not in lab.machines.machines)
    assert two["id"] in lab.machines.machines


async def test_the_event_of_a_deletion_outlives_the_instance(lab: RunningLab) -> None:
    made = await lab.instance("web-1")
    await lab.delete(f"/v4/linode/instances/{made['id']}")
    asked = f'{{"entity.id": {made["id"]}, "entity.type": "linode", "action": "linode_delete", "+order": "desc"}}'
    (event,) = (await lab.get("/v4/account/events", where=asked))["data"]
    await lab.eventually(lambda: not lab.account.state.jobs)
    assert (await lab.get(f"/v4/account/events/{event['id']}"))["status"] == "finished"


async def test_it_can_be_deleted_while_it_is_being_made() -> None:
    async with running_lab(options=SLOW) as lab:
        made = await lab.post("/v4/linode/instances", {**WANTED, "label": "web-1"})
        await lab.delete(f"/v4/linode/instances/{made['id']}")
        await lab.eventually(lambda: not lab.account.state.jobs)
        assert ("boot", made["id"]) not in lab.machines.log
        assert ("delete", made["id"]) in lab.machines.log


async def test_an_address_is_free_again_after_a_deletion(lab: RunningLab) -> None:
    first = await lab.instance("web-1")
    await lab.delete(f"/v4/linode/instances/{first['id']}")
    assert (await lab.instance("web-2"))["ipv4"] == first["ipv4"]


async def test_labels_are_unique(lab: RunningLab) -> None:
    await lab.instance("web-1")
    twice = await lab.refused("POST", "/v4/linode/instances", {**WANTED, "label": "web-1"})
    assert twice == (400, "label", "Label must be unique among your linodes")


IMPOSSIBLE: list[tuple[Json, str | None]] = [
    ({"region": "moon"}, "region"),
    ({"type": "huge"}, "type"),
    ({"image": "linode/windows"}, "image"),
    ({"authorized_keys": []}, None),
    ({"authorized_keys": ["no key"]}, "authorized_keys"),
    ({"authorized_users": ["stranger"]}, "authorized_users"),
    ({"metadata": {"user_data": "not base64!"}}, "metadata.user_data"),
    ({"metadata": {"user_data": base64.b64encode(b"x" * 65536).decode()}}, "metadata.user_data"),
    ({"label": "a"}, "label"),
    ({"label": "two--dashes"}, "label"),
    ({"tags": ["x"]}, "tags"),
    ({"tags": [7]}, "tags[0]"),
    ({"firewall_id": 77}, "firewall_id"),
]


async def test_an_instance_that_cannot_be(lab: RunningLab) -> None:
    for change, named in IMPOSSIBLE:
        status, field, _ = await lab.refused("POST", "/v4/linode/instances", {**WANTED, **change})
        assert (status, field) == (400, named), change
    assert not lab.account.state.instances


async def test_null_where_a_go_client_sends_it(lab: RunningLab) -> None:
    made = await lab.instance("web-1", tags=None, interfaces=None, root_pass=None)
    assert made["tags"] == []


async def test_users_of_the_account_bring_their_keys(lab: RunningLab) -> None:
    await lab.post("/v4/profile/sshkeys", {"label": "mine", "ssh_key": KEY})
    made = await lab.instance("web-1", authorized_keys=[], authorized_users=["lab"])
    assert lab.machines.machines[made["id"]].authorized_keys == (KEY,)


async def test_a_rebuild_is_a_new_disk_at_the_old_address(lab: RunningLab) -> None:
    made = await lab.instance("web-1")
    path = f"/v4/linode/instances/{made['id']}"
    old = (await lab.get(f"{path}/disks"))["data"]
    body = {"image": "linode/ubuntu22.04", "authorized_keys": [KEY]}
    assert (await lab.post(f"{path}/rebuild", body))["status"] == "rebuilding"
    after = await lab.settled(made["id"])
    assert (after["status"], after["image"], after["ipv4"]) == ("running", "linode/ubuntu22.04", made["ipv4"])
    assert {disk["id"] for disk in (await lab.get(f"{path}/disks"))["data"]}.isdisjoint(disk["id"] for disk in old)
    assert [verb for verb, _ in lab.machines.log] == ["create", "boot", "shutdown", "delete", "create", "boot"]


async def test_addresses_come_and_go(lab: RunningLab) -> None:
    made = await lab.instance("web-1", private_ip=False)
    path = f"/v4/linode/instances/{made['id']}"
    private = await lab.post(f"{path}/ips", {"type": "ipv4", "public": False})
    assert private["address"].startswith("192.168.")
    assert (await lab.refused("POST", f"{path}/ips", {"type": "ipv4", "public": False}))[0] == 400
    public = await lab.post(f"{path}/ips", {"type": "ipv4", "public": True})
    assert (await lab.get(f"/v4/networking/ips/{public['address']}"))["linode_id"] == made["id"]
    await lab.delete(f"{path}/ips/{public['address']}")
    assert (await lab.refused("DELETE", f"{path}/ips/{made['ipv4'][0]}"))[0] == 400
    assert (await lab.refused("GET", f"{path}/ips/{public['address']}"))[0] == 404


async def test_the_admin_side_shows_where_it_is(lab: RunningLab) -> None:
    made = await lab.instance("web-1")
    shown = await lab.get(f"/lab/instances/{made['id']}")
    assert (shown["address"], shown["ssh_port"]) == (made["ipv4"][0], 22)
    assert shown["host_key"].startswith("ssh-ed25519 ")
    assert (await lab.ask("GET", "/lab/instances/1")).status == 404


async def test_instance_faults_reach_the_machine(lab: RunningLab) -> None:
    made = await lab.instance("web-1")
    for kind in ("freeze", "thaw", "cut_ssh", "lose_network", "restore_network", "die"):
        assert await lab.post(f"/lab/instances/{made['id']}/faults", {"kind": kind}) == {}
        assert lab.machines.log[-1] == (kind, made["id"])
    assert (await lab.ask("POST", f"/lab/instances/{made['id']}/faults", {"kind": "explode"})).status == 400
    assert (await lab.ask("POST", "/lab/instances/1/faults", {"kind": "die"})).status == 404


async def test_one_that_died_is_offline_and_can_be_booted(lab: RunningLab) -> None:
    made = await lab.instance("web-1")
    path = f"/v4/linode/instances/{made['id']}"
    await lab.post(f"/lab/instances/{made['id']}/faults", {"kind": "die"})
    assert (await lab.get(path))["status"] == "offline"
    await lab.post(f"{path}/boot")
    assert (await lab.settled(made["id"]))["status"] == "running"
    assert made["id"] in lab.machines.running


async def test_a_reverse_name_can_be_given_and_taken_back(lab: RunningLab) -> None:
    made = await lab.instance("web-1")
    public, private = made["ipv4"]
    path = f"/v4/networking/ips/{public}"
    usual = (await lab.get(path))["rdns"]
    assert (await lab.put(path, {"rdns": "web.example.com"}))["rdns"] == "web.example.com"
    assert (await lab.get(f"/v4/linode/instances/{made['id']}/ips/{public}"))["rdns"] == "web.example.com"
    assert (await lab.put(path, {"rdns": None}))["rdns"] == usual
    assert (await lab.refused("PUT", f"/v4/networking/ips/{private}", {"rdns": "x.example.com"}))[:2] == (400, "rdns")


async def test_backups_are_only_a_flag(lab: RunningLab) -> None:
    path = f"/v4/linode/instances/{(await lab.instance('web-1'))['id']}"
    await lab.post(f"{path}/backups/enable")
    assert (await lab.get(path))["backups"]["enabled"]
    await lab.post(f"{path}/backups/cancel")
    assert not (await lab.get(path))["backups"]["enabled"]
