"""`celadon check [VERSION]`: is everything ready? Every part is asked, so one answer shows all that is wrong."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from celadon.cli import losses, trial
from celadon.cli.app import Connected, Need
from celadon.cli.call import Call
from celadon.cli.figures import age, many, size
from celadon.cli.losses import Finding
from celadon.cli.output import Result
from celadon.cli.situation import Situation, read_lease, see, tried
from celadon.config.dockerfile import parse_dockerfile
from celadon.config.load import read_text
from celadon.config.model import Config
from celadon.config.secrets import needed, resolve
from celadon.core.errors import CeladonError, Refused
from celadon.core.observed import BalancerFacts, ConfigFacts, HostFacts
from celadon.core.preflight import CLOCK_SKEW, DISK_FREE, FIRST_DEPLOY, open_rollout
from celadon.core.release import Release
from celadon.core.wanted import Options

MARKS = {"ok": "✓", "warning": "!", "failed": "✗"}
DOCKERFILE = 256 * 1024


async def run(call: Call) -> Result:
    project = call.project
    if call.values["infra"] and (call.values["offline"] or call.values["version"] or call.values["host"]):
        raise Refused("--infra asks for no host and no version", hint="celadon check --infra")
    slow = call.values["slow"]
    if slow is not None and not slow.startswith("/"):
        raise Refused(f"--slow {slow!r}: not a path", hint="like --slow /report?days=30")
    findings = [Finding("config", "ok", f"{project.file.name}: {project.config.app}, {project.config.runtime}")]
    if call.values["infra"]:
        from celadon.cli import infra_check  # noqa: PLC0415 - only this runs Terraform

        findings += await infra_check.look(call)
    else:
        findings.append(await _secrets(call))
        start, online = _start(project.config, project.root), _Online([])
        if not call.values["offline"]:
            online = await _online(call)
        findings += [finding for finding in start if finding.name not in online.answered] + online.findings
    call.output.data([line for finding in findings for line in _lines(finding)])
    failed = sum(finding.grade == "failed" for finding in findings)
    warned = sum(finding.grade == "warning" for finding in findings)
    call.output.say(f"{many(failed, 'problem')}, {many(warned, 'warning')}" if failed or warned else "all is well")
    keys: dict[str, Any] = {"checks": msgspec.to_builtins(findings)}
    return Result(result="refused", exit=2, keys=keys) if failed else Result(keys=keys)


def _lines(finding: Finding) -> list[str]:
    lines = [f"{MARKS[finding.grade]} {finding.name:<12} {finding.text}"]
    return lines + ([f"  {'':<12} hint: {line.strip()}" for line in finding.hint.splitlines()])


# -- without contact -------------------------------------------------------------------------------


async def _secrets(call: Call) -> Finding:
    config = call.project.config
    names = needed(config)
    if not names:
        return Finding("secrets", "ok", "none are asked for")
    try:
        await resolve(config, root=call.project.root, environ=call.environ)
    except Refused as error:
        return _refused("secrets", error)
    return Finding("secrets", "ok", f"{many(len(names), 'value')} found: {', '.join(names)}")


def _start(config: Config, root: Path) -> list[Finding]:
    """How the release is started, and what that would lose."""
    if config.command:
        return losses.predict(config, config.command, origin="command", shell_form=False)
    path = root / "Dockerfile"
    if not path.is_file():
        return losses.predict(config, (), origin="", shell_form=False)
    try:
        start = parse_dockerfile(read_text(path, DOCKERFILE)).start
    except CeladonError as error:
        return [Finding("start", "warning", error.message)]
    words, shell_form = (start.words, start.shell_form) if start is not None else ((), False)
    return losses.predict(config, words, origin="Dockerfile", shell_form=shell_form)


def _refused(name: str, error: CeladonError) -> Finding:
    text = "; ".join([error.message, *error.details])
    return Finding(name, "failed", text, error.hint or "")


# -- with contact ----------------------------------------------------------------------------------


class _Online(msgspec.Struct, frozen=True):
    findings: list[Finding]
    answered: frozenset[str] = frozenset()  # predictions that a trial has answered


async def _online(call: Call) -> _Online:
    only: str | None = call.values["host"]
    version: str | None = call.values["version"]
    # Secrets were judged above; here a missing one only means that the release cannot be made.
    need = Need(secrets=version is not None, secrets_must=False)
    try:
        async with call.connected(need) as connected:
            names = [host.name for host in connected.hosts]
            if only is not None and only not in names:
                raise Refused(f"no host is named {only}", hint=f"the config has {', '.join(names)}")
            wanted = [name for name in names if only in (None, name)]
            findings = list(await asyncio.gather(*(_host(connected, name) for name in wanted)))
            if only is not None:
                return _Online(findings)
            situation = await see(connected)
            findings += [await _token(connected), *_balancer(connected, situation), await _home(connected)]
            if connected.project.config.hosts.terraform is not None:
                from celadon.cli import infra_check  # noqa: PLC0415 - only Terraform's hosts can drift from a state

                findings += await infra_check.drift(connected, call.environ)
            findings += _replicas(connected, situation)
            release = await tried(_release(connected, version))
            if isinstance(release, CeladonError):
                return _Online([*findings, _refused("release", release)])
            findings += await _opening(connected, version, release)
            if version is None:
                return _Online(findings)
            measured, answered = await trial.try_out(call, connected, situation, release)
            return _Online(findings + measured, answered)
    except CeladonError as error:
        return _Online([_refused("reach", error)])


async def _host(connected: Connected, name: str) -> Finding:
    python = await tried(connected.reach.check(name))
    if isinstance(python, CeladonError):
        return _refused(name, python)
    facts = await tried(connected.world.hosts.look(name, connected.wanted.question(name, closely=True)))
    if isinstance(facts, CeladonError):
        return _refused(name, facts)
    return _machine(name, python, facts, connected.world.clock.utc())


def _machine(name: str, python: str, facts: HostFacts, utc: float) -> Finding:
    if facts.disk_free < DISK_FREE:
        text = f"{size(facts.disk_free)} free where releases are kept; a release needs {size(DISK_FREE)}"
        return Finding(name, "failed", text, "docker system prune, or a larger disk")
    skew = abs(facts.utc - utc)
    if skew > CLOCK_SKEW:
        return Finding(name, "warning", f"its clock is {age(skew)} off ours", "timedatectl set-ntp true")
    if facts.first_boot:
        hint = f"ssh {name} cat /var/log/cloud-init-output.log   (a machine of Terraform's: celadon infra renew)"
        return Finding(name, "warning", facts.first_boot, hint)
    return Finding(name, "ok", f"Python {python}, {size(facts.disk_free)} free")


async def _token(connected: Connected) -> Finding:
    from celadon.adapters.linode_scopes import scope_refusal  # noqa: PLC0415 - only an account has scopes

    scopes = await tried(connected.scopes())
    if isinstance(scopes, CeladonError):
        return _refused("token", scopes)
    if scopes is None:
        return Finding("token", "ok", "works; the API does not say what else it may do")
    refusal = scope_refusal(scopes)
    if refusal is not None:
        return _refused("token", refusal)
    return Finding("token", "ok", " ".join(sorted(scopes)))


def _balancer(connected: Connected, situation: Situation) -> list[Finding]:
    facts = situation.balancer
    if isinstance(facts, CeladonError):
        return [_refused("balancer", facts)]
    wanted = connected.wanted
    configs = [config for config in facts.configs if wanted.serves(config.port)]
    testers = [config for config in facts.configs if config.port == wanted.test_port]
    ports = ", ".join(str(config.port) for config in configs) or "none"
    found = [Finding("balancer", "ok", f"{facts.label} ({facts.address}), ports {ports}")]
    return found + [_nodes(connected, facts, config) for config in (*configs, *testers)]


def _nodes(connected: Connected, facts: BalancerFacts, config: ConfigFacts) -> Finding:
    slots = [slot for its in connected.wanted.slots.values() for slot in its]
    have = {node.address for node in config.nodes}
    missing = [slot.node_address for slot in slots if slot.node_address not in have]
    name = f"port {config.port}" if connected.wanted.serves(config.port) else f"test port {config.port}"
    if not missing:
        return Finding(name, "ok", f"{many(len(slots), 'node')}, {config.protocol}, check {config.check}")
    text = f"no node for {', '.join(missing)}"
    if connected.wanted.add_nodes:
        return Finding(name, "ok", f"{text}: deploy adds it, in mode reject")
    hint = "celadon infra apply makes it anew   (it was deleted by hand, or went along with its instance)"
    return Finding(name, "failed", f"{facts.label} {name}: {text}", hint)


async def _home(connected: Connected) -> Finding:
    lease = await tried(read_lease(connected))
    if isinstance(lease, CeladonError):
        return _refused("home", lease)
    name = (await connected.home.find()).host
    holder = f", driven by {lease.holder}" if lease is not None and lease.holder else ""
    return Finding("home", "ok", f"{name} keeps lease, intent and journal{holder}")


def _replicas(connected: Connected, situation: Situation) -> list[Finding]:
    """The health path on what runs now: a path that fails there fails everywhere."""
    live = situation.live.colour if situation.live is not None else None
    if live is None:
        return [Finding("live", "ok", "nothing serves yet: the first deploy has no bake and no way back")]
    found = []
    for slot in connected.wanted.slots[live]:
        facts = situation.slot(slot)
        if facts is None or facts.probe is None or facts.probe.ok:
            continue
        status = facts.probe.status
        if status is not None and 300 <= status < 400:
            text = f"the health path redirects ({status}): a redirect proves nothing"
            hint = "health.path = where it leads, or set url so that the Host header fits"
        else:
            text = f"the health path fails on the live colour: {facts.probe.error or status}"
            hint = "a new release that is as well would be refused too"
        found.append(Finding(slot.key, "warning", text, hint))
    return found or [Finding("live", "ok", f"{live}, its health path passes")]


async def _opening(connected: Connected, version: str | None, release: Release) -> list[Finding]:
    """Would a rollout open now? The core's own preflight says so, port by port, so that each one is told."""
    found = []
    if version is not None:
        found.append(Finding("release", "ok", f"{release.version}: {release.artifact}"))
    scout = await tried(connected.app.scout())
    if isinstance(scout, CeladonError):
        return [*found, _refused("rollout", scout)]
    served = tuple(config.port for config in scout.balancer.configs if connected.wanted.serves(config.port))
    ports = connected.wanted.ports or served
    problems: dict[str, Finding] = {}
    for some in (*((port,) for port in ports), ports):  # each alone, and what only all together tell
        wanted = msgspec.structs.replace(connected.wanted, ports=some)
        try:
            opening = open_rollout(wanted, release, Options(), scout)
        except Refused as error:
            problems.setdefault(error.message, _refused("rollout", error))
        else:
            for text in opening.warnings:
                if text != FIRST_DEPLOY:  # nothing to mend: `live` has said it
                    problems.setdefault(text, Finding("rollout", "warning", text))
    return [*found, *(problems.values() or [Finding("rollout", "ok", "could open now")])]


async def _release(connected: Connected, version: str | None) -> Release:
    """Without a version: a stand-in, as preflight asks nothing of the release itself."""
    if version is not None:
        return await connected.release(version)
    stand_in = "sha256:" + "0" * 64
    return Release(app=connected.wanted.app, version="?", artifact=stand_in, runtime=connected.project.config.runtime)
