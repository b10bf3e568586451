"""The composition root: from config and environment to a world with an app on it. Joins, and decides nothing."""

import getpass
import hashlib
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from celadon.adapters import known_hosts
from celadon.adapters.clock import SystemClock
from celadon.adapters.commands import LocalCommands
from celadon.adapters.door import Door
from celadon.adapters.host import RegistryLogin, SshHosts
from celadon.adapters.linode import DEFAULT_URL, LinodeApi
from celadon.adapters.linode_scopes import NEEDED
from celadon.adapters.nodebalancer import LinodeBalancer
from celadon.adapters.scratch import scratch
from celadon.adapters.ssh import HostAddress
from celadon.cli import inventory, pace
from celadon.cli.app import Connected, Known, Need
from celadon.cli.inventory import Inventory
from celadon.cli.releases import Releases, login_of
from celadon.cli.vault import Vault, open_vault
from celadon.config.model import Config
from celadon.config.project import Project
from celadon.config.secrets import needed
from celadon.core.action import Decision
from celadon.core.errors import Refused, Unavailable
from celadon.core.intent import Health, Hook, Intent, Verify
from celadon.core.observed import BalancerFacts, Mode, NodeFacts, Probe
from celadon.core.release import Colour, Seconds
from celadon.core.scene import Observed
from celadon.core.secret import Secret
from celadon.core.wanted import Wanted
from celadon.drive.app import App
from celadon.drive.driver import Watcher
from celadon.drive.home import HomeStore
from celadon.ports import World

STATIC_NEEDED = ("nodebalancers:read_write",)


@asynccontextmanager
async def connect(project: Project, need: Need, environ: Mapping[str, str]) -> AsyncIterator[Connected]:
    """Implements `cli.app.Connect`. SSH connections are opened when they are first needed, and closed here."""
    lab = pace.at_lab(environ)
    async with AsyncExitStack() as stack:
        account = _Account(project.config, environ)
        stack.push_async_callback(account.close)
        found = await inventory.take(project, account.api)
        config = found.config
        account.learn(config)
        vault = await _vault(project, config, need, environ)
        releases = Releases(config, vault, root=project.root, scratch=stack.enter_context(scratch()))
        hosts = await stack.enter_async_context(_hosts(project, found, vault, releases, environ))
        names = [address.name for address in found.addresses]
        store = HomeStore(hosts.homes(config.app), config.app, found.home, names)
        vault.bind(store)
        if need.secrets:
            await vault.unlock()
        balancer = LateBalancer(account)
        door = Door(SystemClock())
        stack.push_async_callback(door.close)
        watchers = Watchers()
        url = await _door_url(config, account, need)
        test_url = await _test_url(config, account, need)
        wanted = wanted_of(config, found, url=url, test_url=test_url, lab=lab)
        commands = LocalCommands(
            hosts,
            own=(*wanted.tests, *wanted.hooks),
            cwd=project.root,
            environ=environ,
            hidden=needed(config),
            mask=vault.mask,
        )
        world = World(
            hosts=hosts,
            balancer=balancer,
            store=store,
            clock=SystemClock(),
            verifier=door,
            commands=commands,
            secrets=vault,
        )
        yield Connected(
            project=project,
            wanted=wanted,
            world=world,
            home=store,
            app=App(world, wanted, who=who(environ), watch=watchers),
            reach=hosts,
            hosts=_known(project, found),
            scopes=account.scopes,
            release=releases.make,
            notes=lambda: releases.notes,
            watched=watchers.add,
            lab=lab,
        )


def wanted_of(config: Config, found: Inventory, *, url: str, test_url: str = "", lab: bool) -> Wanted:
    """What the config says about every rollout, with nothing left open."""
    door = url.partition("://")[2]
    probe = Probe(
        path=config.health.path,
        host_header=config.health.host_header or door,
        https=config.https,
        timeout=config.health.timeout.total_seconds(),
    )
    raw = msgspec.json.encode(config, order="deterministic")
    # Where the home is changes nothing about a rollout: a moved home leaves plan and open rollout as they are.
    homeless = msgspec.structs.replace(config, hosts=msgspec.structs.replace(config.hosts, home=None))
    settings = msgspec.json.encode(homeless, order="deterministic")
    return Wanted(
        app=config.app,
        slots=found.slots,
        ports=config.balancer.ports or (),
        balancer=str(config.balancer.nodebalancer),
        timing=pace.timing(config, lab=lab),
        health=Health(
            probe=probe,
            passes=config.health.passes,
            warm_up_paths=config.warm_up.paths,
            warm_up_requests=config.warm_up.requests,
        ),
        verify=Verify(
            url=f"{url}{config.verify.path}",
            rate=config.verify.rate,
            max_failed=config.verify.max_failed,
            contains=config.verify.contains or "",
        ),
        tests=tuple(
            Hook(name=test.name, command=test.command, safe_to_repeat=True, timeout=test.timeout.total_seconds())
            for test in config.tests
        ),
        hooks=_hooks(config),
        bake_net=config.rollout.bake_net,
        add_nodes=config.balancer.add_nodes,
        keep=config.keep,
        home=found.home,
        settings_hash=hashlib.sha256(settings).hexdigest()[:16],
        config=raw,
        test_port=config.balancer.test_port,
        test_url=test_url,
    )


def who(environ: Mapping[str, str]) -> str:
    """`user@host`: names this driver in the lease and the journal."""
    name = environ.get("USER") or environ.get("LOGNAME")
    if not name:
        try:
            name = getpass.getuser()
        except (KeyError, OSError):
            name = "somebody"  # a container's user may have no name
    return f"{name}@{socket.gethostname()}"


def _hooks(config: Config) -> tuple[Hook, ...]:
    hooks = config.hooks
    given = {name: getattr(hooks, name) for name in hooks.__struct_fields__}
    return tuple(
        Hook(
            name=name,
            command=hook.command,
            safe_to_repeat=hook.safe_to_repeat,
            timeout=hook.timeout.total_seconds(),
        )
        for name, hook in given.items()
        if hook is not None
    )


async def _vault(project: Project, config: Config, need: Need, environ: Mapping[str, str]) -> Vault:
    if not need.secrets:
        return Vault({}, problem=Refused("this verb asks for no secrets"))
    asked = config if need.secrets_command else msgspec.structs.replace(config, secrets=None)
    return await open_vault(asked, root=project.root, environ=environ, must=need.secrets_must)


def _hosts(
    project: Project, found: Inventory, vault: Vault, releases: Releases, environ: Mapping[str, str]
) -> SshHosts:
    config = found.config
    ssh_config = environ.get("CELADON_SSH_CONFIG")
    login = login_of(config, vault)
    return SshHosts(
        found.addresses,
        known_hosts=project.known_hosts,
        known=found.known_hosts,
        home=found.home,
        ssh_config=Path(ssh_config).expanduser() if ssh_config else None,
        default_user=config.ssh.user,
        archive_of=releases.archive_of,
        registry=RegistryLogin(login.username, login.password) if login is not None else None,
    )


def _known(project: Project, found: Inventory) -> tuple[Known, ...]:
    lines = known_hosts.together(project.known_hosts, found.known_hosts).splitlines()
    keys = {words[0]: line for line in lines if len(words := line.split()) >= known_hosts.KEY_WORDS}
    return tuple(
        Known(
            address.name,
            _shown(address),
            next(s.address for its in found.slots.values() for s in its if s.host == address.name),
            tuple(c.value for c in Colour if any(s.host == address.name for s in found.slots[c])),
            _fingerprint(keys, address),
        )
        for address in found.addresses
    )


def _shown(address: HostAddress) -> str:
    user = f"{address.user}@" if address.user else ""
    return f"{user}{address.ssh_host}" + (f":{address.port}" if address.port else "")


def _fingerprint(keys: Mapping[str, str], address: HostAddress) -> str:
    line = keys.get(known_hosts.pattern(address.ssh_host, address.port or 22)) or keys.get(address.ssh_host)
    return known_hosts.fingerprint_of_line(line) if line is not None else ""


async def _door_url(config: Config, account: "_Account", need: Need) -> str:
    """Where users knock. A lab's ports are elsewhere than the NodeBalancer says, and the lab is asked where."""
    if not need.balancer:
        return config.url or "http://127.0.0.1"
    api = account.api()
    if api.loopback:
        wanted = (config.balancer.ports or (80,))[0]
        listeners = await api.lab_listeners((await account.balancer()).id)
        listeners = tuple(each for each in listeners if each.port != config.balancer.test_port)
        if not listeners:
            raise Unavailable("the lab's NodeBalancer has no port", hint="celadon lab status")
        door = next((each for each in listeners if each.port == wanted), listeners[0])
        return f"http://{door.host}:{door.bound_port}"
    if config.url is not None:
        return config.url
    port = (config.balancer.ports or (80,))[0]
    facts = await (await account.balancer()).read()
    return f"http://{facts.address}" + ("" if port == 80 else f":{port}")


async def _test_url(config: Config, account: "_Account", need: Need) -> str:
    """Where testers knock; empty where there is no test port. A missing config is preflight's to refuse."""
    port = config.balancer.test_port
    if port is None or not need.balancer:
        return ""
    balancer = await account.balancer()
    if account.api().loopback:
        doors = [each for each in await account.api().lab_listeners(balancer.id) if each.port == port]
        return f"http://{doors[0].host}:{doors[0].bound_port}" if doors else ""
    facts = await balancer.read()
    protocol = next((each.protocol for each in facts.configs if each.port == port), "http")
    # A certificate names the users' door, and not the balancer's address.
    host = config.url.partition("://")[2].partition(":")[0] if config.url and protocol == "https" else facts.address
    return f"{protocol}://{host}:{port}"


class _Account:
    """The Linode account, asked only when something needs it: static hosts and logs need no token."""

    def __init__(self, config: Config, environ: Mapping[str, str]) -> None:
        self._config = config
        self._url = environ.get("LINODE_URL") or DEFAULT_URL
        self._token = Secret(environ["LINODE_TOKEN"]) if environ.get("LINODE_TOKEN") else None
        self._api: LinodeApi | None = None
        self._balancer: LinodeBalancer | None = None

    def learn(self, config: Config) -> None:
        """What was open in the config is known now: Terraform names the NodeBalancer, too."""
        self._config = config

    def api(self) -> LinodeApi:
        if self._token is None:
            raise Refused(
                "LINODE_TOKEN is not set",
                hint=f'Cloud Manager > API Tokens: {" ".join(self._needed)} · a lab: eval "$(celadon lab up)"',
                where="LINODE_TOKEN",
            )
        if self._api is None:
            self._api = LinodeApi(self._url, self._token, needed=self._needed)
        return self._api

    @property
    def _needed(self) -> tuple[str, ...]:
        hosts = [host for colour in Colour for host in self._config.hosts.of(colour)]
        return STATIC_NEEDED if hosts and all(host.ssh is not None for host in hosts) else NEEDED

    async def balancer(self) -> LinodeBalancer:
        if self._balancer is None:
            self._balancer = await LinodeBalancer.find(self.api(), str(self._config.balancer.nodebalancer))
        return self._balancer

    async def scopes(self) -> frozenset[str] | None:
        return await self.api().scopes()

    async def close(self) -> None:
        if self._api is not None:
            await self._api.close()


class LateBalancer:
    """Implements `ports.Balancer`: found when it is first asked."""

    def __init__(self, account: _Account) -> None:
        self._account: Final = account

    async def read(self) -> BalancerFacts:
        return await (await self._account.balancer()).read()

    async def read_node(self, node: NodeFacts) -> NodeFacts | None:
        return await (await self._account.balancer()).read_node(node)

    async def set_node(self, node: NodeFacts, mode: Mode, weight: int, deadline: Seconds) -> None:
        await (await self._account.balancer()).set_node(node, mode, weight, deadline)

    async def add_node(self, config_id: int, label: str, address: str) -> None:
        await (await self._account.balancer()).add_node(config_id, label, address)


class Watchers:
    """A `Watcher` that tells others: the app is made before the screen that shows it."""

    def __init__(self) -> None:
        self._all: list[Watcher] = []

    def add(self, watcher: Watcher) -> None:
        self._all.append(watcher)

    def __call__(self, observed: Observed, intent: Intent, decision: Decision, now: float) -> None:
        for watcher in self._all:
            watcher(observed, intent, decision, now)
