"""Rules that join keys, and defaults that follow from other keys. One function a rule; the first failure speaks."""

from collections.abc import Iterator

from msgspec.structs import replace

from celadon.config.errors import did_you_mean, show_line, show_list
from celadon.config.kinds import At
from celadon.config.model import Config
from celadon.config.special import is_ours
from celadon.config.terraform import TerraformOutput
from celadon.config.values import Host, say_duration
from celadon.core.release import Colour


def complete(config: Config, at: At) -> Config:
    """The config with every rule checked and every default filled in."""
    for rule in (
        _one_artifact,
        _a_command_with_source,
        _registry_with_image,
        _no_variable_twice,
        _one_way_to_name_hosts,
        _tags_differ,
        _nodebalancer_named,
        _one_owner_of_nodes,
        _test_port_is_no_users,
        _tests_named_once,
        _deadline_fits,
    ):
        rule(config, at)
    filled = _filled(config)
    check_hosts(filled, at)
    return filled


def with_terraform(config: Config, output: TerraformOutput, at: At) -> Config:
    """The config with hosts and NodeBalancer from Terraform. What the file itself says about them stays."""
    nodebalancer = config.balancer.nodebalancer
    test = output.configs.test if output.configs is not None else None
    made = test.port if test is not None and test.port not in (config.balancer.ports or ()) else None
    balancer = replace(
        config.balancer,
        nodebalancer=output.nodebalancer if nodebalancer is None else nodebalancer,
        test_port=made if config.balancer.test_port is None else config.balancer.test_port,
    )
    home = config.hosts.home or output.blue[0].name
    hosts = replace(config.hosts, blue=output.blue, green=output.green, home=home)
    filled = replace(config, hosts=hosts, balancer=balancer)
    check_hosts(filled, at)
    return filled


def check_hosts(config: Config, at: At) -> None:
    """The rules of hosts that are known by now: nothing is said about those that Terraform or tags will name."""
    hosts = config.hosts
    if not hosts.blue:
        return
    for colour in Colour:
        _each_host_once(hosts.of(colour), at.child("hosts").child(colour))
    _shared_hosts_have_ports(config, at.child("hosts"))
    _no_address_twice(config, at.child("hosts"))
    names = [host.name for host in (*hosts.blue, *hosts.green)]
    if hosts.home is not None and hosts.home not in names:
        hint = did_you_mean(hosts.home, names) or f"one of: {show_list(dict.fromkeys(names))}"
        raise at.child("hosts").child("home").refuse("is none of the hosts", hint)


def _filled(config: Config) -> Config:
    path = config.health.path
    door = config.url.partition("://")[2] if config.url else None
    hosts = config.hosts
    return replace(
        config,
        health=replace(config.health, host_header=config.health.host_header or door),
        warm_up=replace(config.warm_up, paths=config.warm_up.paths or (path,)),
        verify=replace(config.verify, path=config.verify.path or path),
        hosts=replace(hosts, home=hosts.home or (hosts.blue[0].name if hosts.blue else None)),
        # One owner: where Terraform makes the nodes, a node of ours would be drift in its next plan.
        balancer=replace(config.balancer, add_nodes=config.balancer.add_nodes and hosts.terraform is None),
    )


# --- artifact and settings -------------------------------------------------------------------------------------


def _one_artifact(config: Config, at: At) -> None:
    if config.image is not None and config.source is not None:
        hint = "image runs containers, source runs a virtual environment: keep one"
        raise at.child("source").refuse("both image and source are given", hint)
    if config.image is None and config.source is None:
        hint = 'add image = "ghcr.io/acme/hello" (Docker), or source = "." with a command (a virtual environment)'
        raise at.child("image").refuse("missing", hint)


def _a_command_with_source(config: Config, at: At) -> None:
    if config.source is not None and not config.command:
        hint = 'add command = ["gunicorn", "-b", "{host}:{port}", "app:app"]'
        raise at.child("command").refuse("missing: source has no CMD of its own", hint)


def _registry_with_image(config: Config, at: At) -> None:
    if config.registry is not None and config.image is None:
        raise at.child("registry").refuse("has no meaning with source", "remove [registry]: no image is pulled")


def _no_variable_twice(config: Config, at: At) -> None:
    for index, name in enumerate(config.env.secret):
        where = at.child("env").child("secret").item(index)
        if name in config.env.clear:
            raise where.refuse(f"{show_line(name)} is also in env.clear", "a variable has one value: remove one")
        if is_ours(name):
            raise where.refuse(f"{show_line(name)} is set by Celadon", "choose another name")


# --- hosts and balancer ----------------------------------------------------------------------------------------


def _one_way_to_name_hosts(config: Config, at: At) -> None:
    hosts = config.hosts
    ways = {
        "colours": bool(hosts.blue or hosts.green),
        "terraform": hosts.terraform is not None,
        "tags": hosts.tags is not None,
    }
    given = [way for way, is_given in ways.items() if is_given]
    hint = 'give exactly one: blue and green, terraform = "infra", or tags = { blue = […], green = […] }'
    if len(given) != 1:
        reason = f"both {' and '.join(given)} are given" if given else "missing: no way to know the hosts"
        raise at.child("hosts").refuse(reason, hint)
    for colour in Colour:
        if ways["colours"] and not hosts.of(colour):
            reason = "missing: a rollout needs both colours"
            raise at.child("hosts").child(colour).refuse(reason, f'add {colour} = ["{colour}-app-01"]')


def _tags_differ(config: Config, at: At) -> None:
    tags = config.hosts.tags
    if tags is None or config.hosts.ports is not None:
        return
    for one, other in ((tags.blue, tags.green), (tags.green, tags.blue)):
        if {tag.lower() for tag in one} <= {tag.lower() for tag in other}:  # Linode compares tags caselessly
            reason = "every host of one colour would be of the other too"
            raise (
                at.child("hosts")
                .child("tags")
                .refuse(reason, "give each colour a tag of its own, or hosts.ports if they share hosts")
            )


def _nodebalancer_named(config: Config, at: At) -> None:
    if config.balancer.nodebalancer is None and config.hosts.terraform is None:
        hint = 'add nodebalancer = "LABEL" (or its id) under [balancer]'
        raise at.child("balancer").child("nodebalancer").refuse("missing", hint)


def _one_owner_of_nodes(config: Config, at: At) -> None:
    if config.hosts.terraform is not None and "balancer.add_nodes" in at.written and config.balancer.add_nodes:
        hint = "remove it: a node that Celadon adds is drift in Terraform's next plan"
        raise at.child("balancer").child("add_nodes").refuse("hosts.terraform is set, so Terraform owns nodes", hint)


def _test_port_is_no_users(config: Config, at: At) -> None:
    port = config.balancer.test_port
    if port is not None and port in (config.balancer.ports or ()):
        hint = "a test port is one that no user comes through: give it a port of its own"
        raise at.child("balancer").child("test_port").refuse(f"{port} is also in balancer.ports", hint)


def _each_host_once(hosts: tuple[Host, ...], at: At) -> None:
    seen: dict[str, int] = {}
    for index, host in enumerate(hosts):
        if host.name in seen:
            reason = f"{show_line(host.name)} a second time (first at [{seen[host.name]}])"
            raise at.item(index).refuse(reason, "a colour has one slot on a host: name each host once")
        seen[host.name] = index


def _shared_hosts_have_ports(config: Config, at: At) -> None:
    ports = config.hosts.ports
    shared = sorted({host.name for host in config.hosts.blue} & {host.name for host in config.hosts.green})
    if not shared or (ports is not None and ports.blue != ports.green):
        return
    example = f"ports = {{ blue = {config.port}, green = {config.port % 65535 + 1} }}"
    if ports is None:
        raise at.child("ports").refuse(f"missing: both colours use {show_list(shared)}", f"add {example}")
    reason = f"both colours use port {ports.blue} on {show_list(shared)}"
    raise at.child("ports").refuse(reason, f"two replicas cannot share a port: {example}")


def _no_address_twice(config: Config, at: At) -> None:
    """Two hosts with one address and port would be one node of the balancer, counted twice."""
    seen: dict[tuple[str, int], str] = {}
    for where, host, port in _slots(config, at):
        if host.private is None:
            continue
        slot = (host.private, port)
        if slot in seen:
            raise where.refuse(
                f"{host.private}:{port} is also the slot of {seen[slot]}", "each slot has an address of its own"
            )
        seen[slot] = show_line(host.name)


def _slots(config: Config, at: At) -> Iterator[tuple[At, Host, int]]:
    for colour in Colour:
        for index, host in enumerate(config.hosts.of(colour)):
            yield at.child(colour).item(index), host, config.slot_port(colour)


# --- rollout ---------------------------------------------------------------------------------------------------


def _tests_named_once(config: Config, at: At) -> None:
    seen: set[str] = set()
    for index, test in enumerate(config.tests):
        if test.name in seen:
            reason = f"{show_line(test.name)} is the name of an earlier test"
            raise at.child("tests").item(index).child("name").refuse(reason, "reports tell tests apart by name")
        seen.add(test.name)


def _deadline_fits(config: Config, at: At) -> None:
    needed = config.health.start_within + config.rollout.settle
    if config.rollout.deadline <= needed:
        reason = f"{say_duration(config.rollout.deadline)} cannot be met"
        hint = f"health.start_within and rollout.settle alone may take {say_duration(needed)}"
        raise at.child("rollout").child("deadline").refuse(reason, hint)
