"""One simulated rollout from opening to end: through as many drivers as it takes, and through what befalls them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import msgspec
from msgspec.structs import replace

from celadon.core.action import Act, Finish, Halt, SetNode
from celadon.core.errors import CeladonError
from celadon.core.intent import Intent, Requests
from celadon.core.observed import Mode
from celadon.core.release import Colour
from celadon.core.scene import Observed
from celadon.core.wanted import Options, Wanted
from celadon.drive.app import App
from celadon.drive.driver import Driver, decode_intent
from celadon.drive.lease import Lease
from tests.simulation import rollouts
from tests.simulation.coverage import Coverage
from tests.simulation.machines import Node
from tests.simulation.ports import Faults, Guard, Ports
from tests.simulation.promises import Promises
from tests.simulation.rollouts import HEALTH, LEFT, MOMENTS, NEW, OLD, OTHER, TIMING, VERIFY
from tests.simulation.settings import Beginning, Happening, Setting, draw
from tests.simulation.virtual import run
from tests.simulation.world import RATE, SimWorld

__all__ = ["Outcome", "Setting", "draw", "tell"]

ANCIENT = "ancient"  # the settings of a release that no rollback needs
CALM_AT = 1000.0  # seconds into a story at which faults stop
PATIENCE = CALM_AT + 4.0 * TIMING.deadline  # once faults stop: going on, going back, and being stuck twice
HALTS = 1  # times that the same command is run again after a driver said that it is stuck
REFUSALS = 8  # and after opening was refused
TRY_AGAIN = 10.0  # seconds after which a person does who was told that no rollout is open
ASKED_FOR = {"go_back", "pause", "promote"}  # of an open rollout


@dataclass
class Outcome:
    result: str
    world: SimWorld
    promises: Promises
    drivers: int
    decisions: int
    seconds: float
    trace: list[str]

    @property
    def broken(self) -> list[str]:
        return self.world.broken


def tell(
    setting: Setting, *, trace: bool = False, patience: float = PATIENCE, coverage: Coverage | None = None
) -> Outcome:
    outcome: Outcome = run(_Story(setting, trace=trace, patience=patience, coverage=coverage).tell())
    return outcome


class Witness(Guard):
    """Tells a rollout's promises what somebody else writes into its journal; what they do later is their story."""

    def __init__(self, promises: Promises) -> None:
        self._promises = promises

    def wrote(self, rollout: int, event: bytes) -> None:
        self._promises.wrote(rollout, event)

    def saw_good(self, answers: int) -> None:
        self._promises.saw_good(answers)


class _Story:
    def __init__(self, setting: Setting, *, trace: bool, patience: float, coverage: Coverage | None) -> None:
        self.coverage = coverage
        self.setting = setting
        self.patience = patience
        self.trace = trace
        self.lines: list[str] = []
        self.drivers = 0
        self.decisions = 0
        self.faults = replace(setting.faults)
        self.living: list[Ports] = []
        self.homeless = asyncio.Event()
        self.to_come: list[Happening] = []
        self.beside: list[asyncio.Task[str]] = []  # drivers that came later than the others
        self.written: set[str] = set()
        self.begun = setting.beginning

    async def tell(self) -> Outcome:
        setting = self.setting
        world = self.world = SimWorld(
            setting.seed,
            colours=setting.colours,
            ports=setting.ports,
            lag=setting.lag,
            shared=setting.shared,
            test_port=8081 if setting.test_port else None,
        )
        if self.coverage is not None:
            self.coverage.recent = world.recent
        began = world.now
        self._furnish()
        rollout = rollouts.rollout(world, setting)
        if not setting.commands:
            world.intent = msgspec.json.encode(Intent(rollout=rollout))
        elif not setting.first and not setting.unmanaged:
            world.intent, world.journals[1] = rollouts.earlier(rollout)
            rollout = msgspec.structs.replace(rollout, number=2)
        self.promises = Promises(world, rollout)
        self.promises.held = setting.hold
        if setting.leftover:
            self.promises.allowed.add(LEFT.id)
        if not setting.first:
            self.promises.allowed.add(OLD.id)  # also where Celadon did not start it
        self._foresee()
        result = await self._until_it_ends()
        self.promises.after(result, bad=setting.candidate.fails > 0 and not setting.first)
        if self.begun != "plain" and (result != "refused" or self.promises.puts):
            self.promises.broke("balancer_overrules", f"opened, though the balancer was {self.begun}: {result}")
        if setting.calm:
            self.promises.after_calm(result)
        return Outcome(result, world, self.promises, self.drivers, self.decisions, world.now - began, self.lines)

    def _foresee(self) -> None:
        """What befalls this world, at its time or after an event of the journal."""
        loop = self.world.loop
        self.to_come = [happening for happening in self.setting.happenings if happening.after is not None]
        self.promises.listeners.append(self._hear)
        for happening in self.setting.happenings:
            if happening.after is None:
                loop.call_later(happening.at, self._befall, happening)
        loop.call_later(CALM_AT, self._calm_down)

    async def _until_it_ends(self) -> str:
        loop = self.world.loop
        physics = loop.create_task(self.world.physics(rate=RATE))
        driving = loop.create_task(self._drive_to_the_end())
        homeless = loop.create_task(self.homeless.wait())
        await asyncio.wait([driving, physics, homeless], timeout=self.patience, return_when=asyncio.FIRST_COMPLETED)
        physics.cancel()
        if physics.done() and not physics.cancelled() and (error := physics.exception()) is not None:
            raise error
        if driving.done():
            return str(driving.result())
        return "homeless" if homeless.done() else "never"

    def _furnish(self) -> None:
        setting, world = self.setting, self.world
        world.drain = TIMING.drain
        world.first = world.closed = setting.first
        world.lengths = setting.lengths
        world.unchecked_backups = setting.unchecked_backups
        world.behaves(NEW, setting.candidate)
        world.no_artifact = setting.no_artifact
        world.every = 10 if setting.slow_checks else 1
        world.slow = 1.2 * TIMING.deadline if setting.slow_test else 1.0
        for host in world.hosts.values():
            host.settings.add(ANCIENT)
        if setting.tight:
            world.limits = {"list": 6, "node": 30}
        if setting.leftover:
            world.serve_from(Colour.GREEN, LEFT, mode=Mode.REJECT)
            green = {slot.node_address for slot in world.slots[Colour.GREEN]}
            for node in world.nodes.values():
                if node.port in world.ports and node.address in green:
                    node.up, node.applied = True, Mode.ACCEPT  # a person took it out a moment ago
                    world.apply(node.id, Mode.REJECT, 1, ours=False)
        if not setting.first:
            world.serve_from(Colour.BLUE, OLD)
        if setting.new_port:
            world.add_port_lately(world.ports[-1])
        if setting.left_open:
            world.leave_test_port_open()
        self._begin(setting.beginning)

    def _begin(self, beginning: Beginning) -> None:
        """What must not be opened: both colours accept, only the net serves, or the candidate's colour is in use."""
        green = {slot.node_address for slot in self.world.slots[Colour.GREEN]}
        if beginning == "plain":
            return
        self.world.excused = beginning
        for node in [n for n in self.world.nodes.values() if n.port in self.world.ports]:
            if node.address in green and beginning in {"mixed", "net"}:
                node.mode = node.applied = Mode.ACCEPT
            elif beginning != "mixed" and (node.address in green) == (beginning == "busy"):
                node.mode = node.applied = Mode.BACKUP

    def _calm_down(self) -> None:
        """From here on nothing goes wrong any more: the rollout must end within its deadlines."""
        for name in Faults.__struct_fields__:
            setattr(self.faults, name, 0.0)
        self.world.limits = {"list": 200, "node": 1600}

    # -- what befalls it ---------------------------------------------------------------------------

    def _hear(self, event: str) -> None:
        """What waits for this moment of the journal comes now, or so many seconds later."""
        if event == self.setting.dies_after and event not in self.written:
            self.world.doomed = event
        self.written.add(event)
        if event == "Opened" and self._one_colour_accepts():
            self.begun = "plain"  # somebody mended it by hand, and the command found it so
        for happening in [happening for happening in self.to_come if happening.after == event]:
            self.to_come.remove(happening)
            if happening.at:
                self.world.loop.call_later(happening.at, self._befall, happening)
            else:
                self._befall(happening)  # before whoever wrote it can know

    def _one_colour_accepts(self) -> bool:
        world = self.world
        on = [n for n in world.nodes.values() if n.port in world.ports and n.mode is not Mode.REJECT]
        colours = {n.address in self.promises.green for n in on}
        return len(colours) == 1 and all(n.mode is Mode.ACCEPT for n in on)

    def _befall(self, happening: Happening) -> None:
        if happening.kind in ASKED_FOR and not self._open():
            self.world.loop.call_later(TRY_AGAIN, self._befall, happening)  # "no rollout is open": they try again
            return
        self._say(f"HAPPENS {happening}")
        self.world.fault(happening.kind)
        by_kind: dict[str, Callable[[Happening], None]] = {
            "host": self._host,
            "edit": self._edit,
            "twin": self._twin,
            "unlist": self._unlist,
            "home": self._home,
            "freeze": self._freeze,
            "go_back": self._go_back,
            "pause": self._pause,
            "promote": self._promote,
            "again": self._again,
            "outage": self._outage,
            "other_deploy": self._somebody,
            "other_config": self._somebody,
        }
        by_kind[happening.kind](happening)

    def _twin(self, happening: Happening) -> None:
        """Somebody makes a second node for one address."""
        world = self.world
        world.add_node(world.ports[0], world.slots[happening.colour][happening.index].node_address)
        world.edited_at[world.ports[0]] = world.now

    def _freeze(self, happening: Happening) -> None:
        self.promises.frozen = True
        one = [self.living[happening.index % len(self.living)]] if happening.empty and self.living else self.living
        for ports in one:
            ports.freeze(happening.back_after or 0.0)

    def _go_back(self, _happening: Happening) -> None:
        self.promises.asked_back_at = self.world.now
        self._ask(lambda requests: msgspec.structs.replace(requests, go_back="an operator", paused=False))

    def _promote(self, _happening: Happening) -> None:
        self.promises.held = False
        self._ask(lambda requests: msgspec.structs.replace(requests, promotions=requests.promotions + 1))

    def _open(self) -> bool:
        stored = decode_intent(self.world.intent)
        return stored is not None and stored.rollout.number >= self.promises.number

    def _pause(self, happening: Happening) -> None:
        self._for_a_while(happening, self._paused)

    def _somebody(self, happening: Happening) -> None:
        asyncio.get_running_loop().create_task(self._somebody_deploys(happening.kind))

    def _outage(self, happening: Happening) -> None:
        """The API answers nothing but errors."""
        self.world.outages += happening.back_after or 0.0
        self._for_a_while(happening, lambda away: setattr(self.world, "api_away", away))

    def _again(self, _happening: Happening) -> None:
        """The same command on another machine, while the first may be alive, asleep or dead."""
        if self._over() is None:
            self.beside.append(self.world.loop.create_task(self._one_driver(100 + len(self.beside))))

    def _host(self, happening: Happening) -> None:
        slots = self.world.slots[happening.colour]
        name = slots[happening.index].host
        self.world.excused = self.world.excused or f"{name} died"
        self.world.kill_host(name)
        if happening.colour is Colour.GREEN and happening.back_after is None:
            self.promises.hopeless()
        if happening.back_after is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(happening.back_after, partial(self.world.boot_host, name, empty=happening.empty))

    def _edit(self, happening: Happening) -> None:
        """Somebody takes one of several nodes out by hand, on one port only: the ports diverge."""
        address = self.world.slots[Colour.BLUE][happening.index].node_address
        nodes = [node for node in self.world.nodes.values() if node.address == address]
        if not nodes:
            return
        if self._others_serve(nodes[0]):
            self.world.excused = self.world.excused or "a node was taken out by hand"
            self.world.apply(nodes[0].id, Mode.REJECT, 1, ours=False)

    def _unlist(self, happening: Happening) -> None:
        """Somebody deletes a node of the candidate's, or of stable's where others serve."""
        address = self.world.slots[happening.colour][happening.index].node_address
        for node in [n for n in self.world.nodes.values() if n.address == address]:
            if self._others_serve(node):
                self.world.excused = self.world.excused or "a node was deleted by hand"
                self.world.remove_node(node.id)
                return

    def _others_serve(self, node: Node) -> bool:
        """Who is about to be out, since somebody asked for that a moment ago, does not count."""
        others = [n for n in self.world.takers(node.port) if n.address != node.address]
        return any(not n.changes or n.changes[-1].mode is not Mode.REJECT for n in others)

    def _home(self, happening: Happening) -> None:
        if happening.back_after is not None:
            self._for_a_while(happening, lambda lost: setattr(self.world, "home_lost", lost))
            return
        self.world.home_lost = True
        asyncio.get_running_loop().call_later(300.0, self.homeless.set)

    def _paused(self, paused: bool) -> None:  # noqa: FBT001 - one of two callbacks of the same shape
        self.promises.paused_at = self.world.now if paused else None
        self._ask(lambda requests: msgspec.structs.replace(requests, paused=paused and not requests.go_back))

    def _for_a_while(self, happening: Happening, switch: Callable[[bool], None]) -> None:
        switch(True)
        asyncio.get_running_loop().call_later(happening.back_after or 0.0, switch, False)

    def _ask(self, change: Callable[[Requests], Requests]) -> None:
        intent = decode_intent(self.world.intent)
        if intent is not None and not intent.finished:
            changed = msgspec.structs.replace(intent, requests=change(intent.requests))
            self.world.intent = msgspec.json.encode(changed)

    async def _somebody_deploys(self, kind: str) -> None:
        """Another release, or the same with another config: refused while the rollout is open."""
        if not self.promises.events:
            return
        ports = Ports(self.world)
        ports.guard = Witness(self.promises)
        self.promises.allowed.add(OTHER.id)
        app = App(ports.everything(), self._wanted(other=kind == "other_config"), who="somebody")
        try:
            await app.deploy(OTHER if kind == "other_deploy" else NEW, Options())
            opened = decode_intent(self.world.intent)
            if kind == "other_deploy" and opened is not None and opened.rollout.candidate != OTHER:
                self.promises.broke("idempotent", "the deploy of another release drove what was open as its own")
        except CeladonError as error:
            self._say(f"somebody: {type(error).__name__} {error}")

    # -- who drives it -----------------------------------------------------------------------------

    async def _drive_to_the_end(self) -> str:
        halts = refusals = 0
        while True:
            self.drivers += 1
            self.living = []
            side_by_side = [asyncio.create_task(self._one_driver(n)) for n in range(self.setting.drivers)]
            results = await asyncio.gather(*side_by_side)
            while self.beside:
                results.append(await self.beside.pop())
            if (over := self._over()) is not None:
                return over
            halts += "halted" in results
            refusals += "lost" in results and not self.promises.events
            if halts > HALTS:
                return "halted"
            if refusals > REFUSALS:
                return "refused"
            await asyncio.sleep(1.0)

    def _over(self) -> str | None:
        stored = decode_intent(self.world.intent)
        if stored is None or stored.rollout.number < self.promises.number:
            return None
        if stored.rollout.number > self.promises.number:
            if self.promises.finished is None:
                self.promises.broke("idempotent", f"rollout {stored.rollout.number} was opened over an open one")
            return self.promises.finished
        return stored.finished or None

    async def _one_driver(self, number: int) -> str:
        name = f"driver-{self.drivers}-{number}"
        skew = self.setting.skew * number if self.setting.drivers > 1 else self.setting.skew * (self.drivers % 2)
        ports = Ports(self.world, faults=self.faults, skew=skew, name=name)
        ports.guard = self.promises
        ports.command_ok = {"smoke": not self.setting.bad_test}
        ports.process = asyncio.current_task()
        ports.blind = self.setting.blind
        self.living.append(ports)

        def watch(observed: Observed, intent: Intent, decision: object, now: float) -> None:
            self.decisions += 1
            self.promises.deciders.add(name)
            if isinstance(decision, Act):
                changes = [action.node for action in decision.actions if isinstance(action, SetNode)]
                ports.decided.update(dict.fromkeys(changes, self.world.now))
            if intent.rollout.number > self.promises.number:  # it came as ours had ended, and opened one of its own
                ports.guard = Witness(self.promises)
            if self.trace:
                self._say(f"{name} {decision}")

        self.promises.driven += 1
        run_it = self._command if self.setting.commands else self._drive
        try:
            end = await run_it(ports, name, watch)
        except asyncio.CancelledError:
            if not ports.died:
                raise
            self._say(f"{name} CRASH {ports.died}")
            return "crashed"
        except CeladonError as error:
            self._say(f"{name} {type(error).__name__} {error}")
            return "lost"
        finally:
            self.promises.driven -= 1
            self.promises.is_left_to(self.promises.driven)
        if isinstance(end, Halt) and end.needs_person:
            self.promises.settled = True
            self._ask(lambda requests: msgspec.structs.replace(requests, settled_hooks=MOMENTS))
            return "ended"
        return "halted" if isinstance(end, Halt) else "ended"

    async def _drive(self, ports: Ports, name: str, watch: Callable[..., None]) -> Finish | Halt | None:
        lease = Lease(ports, ports, name, TIMING.lease)
        try:
            await lease.take()
            intent = decode_intent(self.world.intent)
            assert intent is not None
            end = None if intent.finished else await Driver(ports.everything(), lease, intent, watch).drive()
            await lease.release()
            return end
        finally:
            await lease.let_go()  # its process is gone

    async def _command(self, ports: Ports, name: str, watch: Callable[..., None]) -> Finish | Halt | None:
        """`celadon deploy v2`, and the same again after whatever ended it."""
        app = App(ports.everything(), self._wanted(), who=name, watch=watch)
        return (await app.deploy(NEW, Options(hold=self.setting.hold))).end

    def _wanted(self, *, other: bool = False) -> Wanted:
        return Wanted(
            app="shop",
            slots=self.world.slots,
            ports=(),
            balancer="balancer",
            timing=TIMING,
            health=HEALTH,
            verify=VERIFY,
            tests=rollouts.tests(self.setting),
            hooks=rollouts.hooks(self.setting),
            bake_net="reject" if self.setting.no_net else "backup",
            settings_hash="other" if other else "same",
            test_port=self.world.test_port,
        )

    def _say(self, text: str) -> None:
        if self.trace and (not self.lines or not self.lines[-1].endswith(text)):
            self.lines.append(f"{self.world.now:8.1f} {text}")
