"""What every verb does, on a simulated world: from nothing to the tenth deploy, forward and back."""

import asyncio
from typing import Any

import msgspec
import pytest
from tests.drive.apps import TIMING, Shop, lease_is_free, release, result, spawn, stored, story
from tests.simulation.machines import Behaviour
from tests.simulation.ports import Ports

from celadon.core.action import Finish, Halt
from celadon.core.errors import LeaseLost, NotAllowed, Refused
from celadon.core.home import first_fence
from celadon.core.intent import Hook
from celadon.core.journal import Event, Noted
from celadon.core.release import Colour
from celadon.core.wanted import Options
from celadon.drive.app import Declined, Ending
from celadon.drive.forecast import Forecast
from celadon.drive.lease import Held

BLUE, GREEN = Colour.BLUE, Colour.GREEN


# -- forward -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shop",
    [Shop(nodes=False), Shop(colours=1), Shop(ports=2), Shop(shared=True, ports=2), Shop(shared=True, nodes=False)],
)
def test_from_nothing_and_then_again_and_again(shop: Shop) -> None:
    async def tell(shop: Shop) -> None:
        assert result(await shop.deploy("v1")) == "done"
        assert shop.serving() == shop.all_of(BLUE)
        assert result(await shop.deploy("v2")) == "done"
        assert shop.serving() == shop.all_of(GREEN)
        assert result(await shop.deploy("v3")) == "done"
        assert shop.serving() == shop.all_of(BLUE)
        assert shop.versions == {release("v3").id}

    assert story(tell, shop).unharmed()
    assert lease_is_free(shop)


def test_an_unchanged_deploy_changes_nothing() -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        before = (shop.world.intent, len(shop.world.journals))
        ending = await shop.deploy("v1")
        assert isinstance(ending.end, Finish)
        assert ending.end.because == "already live: nothing was changed"
        assert before == (shop.world.intent, len(shop.world.journals))
        assert (ending.intent.rollout.number, ending.intent.rollout.candidate_colour) == (1, BLUE)
        assert not ending.events

    assert lease_is_free(story(tell))


def test_an_unchanged_deploy_names_the_hosts_that_do_not_serve_it() -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        first, second = shop.world.slots[BLUE]
        shop.world.hosts[first.host].replicas.clear()
        for node in [n for n in shop.world.nodes.values() if n.address == second.node_address]:
            shop.world.remove_node(node.id)
        ending = await shop.deploy("v1")
        assert [event.text for event in ending.events if isinstance(event, Noted)] == [
            f"{first.host} does not run v1",
            f"{second.host} runs v1, and has no node on port 80",
        ]

    story(tell)


def test_fifty_hosts_a_colour() -> None:
    async def tell(shop: Shop) -> None:
        shop.world.serve_from(BLUE, release("by-hand"))
        timing = msgspec.structs.replace(TIMING, interval=10.0, fresh=20.0)
        assert result(await shop.deploy("v1", timing=timing)) == "done"

    shop = story(tell, Shop(colours=50))
    assert shop.unharmed()
    assert max(node.calls for node in shop.world.nodes.values()) < 40


def test_the_plan_is_shown_and_can_be_declined() -> None:
    async def tell(shop: Shop) -> None:
        seen: list[Forecast] = []

        async def decline(forecast: Forecast) -> bool:
            seen.append(forecast)
            return False

        with pytest.raises(Declined):
            await shop.person().deploy(release("v1"), Options(), decline)
        assert seen[0].candidate.version == "v1"
        assert seen[0].plan_id == (await shop.person().foresee(release("v1"), Options())).plan_id

    shop = story(tell, users=False)
    assert shop.world.intent is None
    assert lease_is_free(shop)


def test_a_plan_is_refused_once_the_world_has_changed() -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        plan = (await shop.person().foresee(release("v2"), Options())).plan_id
        with pytest.raises(Refused, match="the world has changed since plan"):
            await shop.deploy("v3", Options(plan_id=plan))
        assert result(await shop.deploy("v2", Options(plan_id=plan))) == "done"

    story(tell)


def test_hold_waits_for_promote() -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        held = spawn(shop.deploy("v2", Options(hold=True)))
        await asyncio.sleep(TIMING.deadline + 100)
        assert shop.serving() == shop.all_of(BLUE)
        before, heard = len(shop.kinds(2)), list[Event]()
        followed = await shop.person("bob").promote(full=False, each=heard.append)
        assert (result(followed), result(await held)) == ("done", "done")
        assert [type(event).__name__ for event in heard] == shop.kinds(2)[before:]  # all of it, and nothing older

    assert story(tell).unharmed()


def test_pause_holds_and_resume_goes_on() -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        going = spawn(shop.deploy("v2"))
        await shop.until(lambda: "Started" in shop.kinds(2))
        await shop.person("bob").pause()
        await asyncio.sleep(500)
        assert shop.serving() == shop.all_of(BLUE)
        assert result(await shop.person("bob").resume()) == "done"
        await going

    assert story(tell).unharmed()


def test_until_commit_leaves_the_bake_to_the_next_deploy() -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        assert result(await shop.deploy("v2", Options(until_commit=True))) == "committed"
        assert not stored(shop).finished
        with pytest.raises(Refused, match="is open; nobody drives it"):
            await shop.deploy("v3")
        await asyncio.sleep(TIMING.bake)
        assert result(await shop.deploy("v3")) == "done"
        assert shop.versions == {release("v3").id}
        assert "Finished" in shop.kinds(2)

    assert story(tell).unharmed()


def test_resume_finishes_what_was_left_at_the_commit() -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        await shop.deploy("v2", Options(until_commit=True))
        assert result(await shop.person("bob").resume()) == "done"

    assert story(tell).unharmed()


@pytest.mark.parametrize("put", range(4))
def test_a_token_that_is_revoked_is_not_the_releases_fault(put: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ends and says so, the rollout stays open, and the same command with a new token goes on forward."""
    real, left = Ports.set_node, iter(range(put))

    async def revoked(self: Ports, *args: Any) -> None:
        if next(left, None) is None:
            raise NotAllowed("Linode: 401 Invalid Token")
        await real(self, *args)

    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        with monkeypatch.context() as patch:
            patch.setattr(Ports, "set_node", revoked)
            with pytest.raises(NotAllowed):
                await shop.deploy("v2")
        assert not stored(shop).finished
        assert not {"ActionFailed", "Returning"} & set(shop.kinds(2))
        assert result(await shop.deploy("v2")) == "done"
        assert shop.versions == {release("v2").id}

    assert lease_is_free(story(tell))


# -- two people, and Ctrl-C ----------------------------------------------------------------------------------


def test_of_two_deployers_one_is_told_who_drives() -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        first = spawn(shop.person("ada").deploy(release("v2"), Options()))
        await shop.until(lambda: "Opened" in shop.kinds(2))
        with pytest.raises(Held) as held:
            await shop.person("bob").deploy(release("v3"), Options())
        assert held.value.message == "rollout 2 (v1 → v2) is open, driven by ada"
        assert result(await first) == "done"

    assert story(tell).unharmed()


def test_two_at_the_same_moment_open_one_rollout() -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        both = [shop.person(who).deploy(release("v2"), Options()) for who in ("ada", "bob")]
        answers = await asyncio.gather(*both, return_exceptions=True)
        assert sorted(type(answer).__name__ for answer in answers) == ["Ending", "Held"]

    assert sorted(story(tell).world.journals) == [1, 2]


def stop_after(kind: str) -> Any:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        app = shop.person("ada")
        going = spawn(app.deploy(release("v2"), Options()))
        await shop.until(lambda: kind in shop.kinds(2))
        app.stop()
        ending = await going
        assert ending.end is None
        assert lease_is_free(shop)
        assert not stored(shop).finished
        if kind != "Retiring":  # then another release would finish this one first
            with pytest.raises(Refused, match="nobody drives it"):
                await shop.deploy("v3")
        assert result(await shop.deploy("v2")) == "done"  # adopted: the same command again
        assert sorted(shop.world.journals) == [1, 2]

    return tell


@pytest.mark.parametrize("kind", ["Opened", "Started", "Asked", "StepDone", "Committed", "Retiring"])
def test_ctrl_c_leaves_no_lock_and_the_same_command_goes_on(kind: str) -> None:
    assert story(stop_after(kind)).unharmed()


def test_ctrl_c_before_anything_was_opened() -> None:
    async def tell(shop: Shop) -> None:
        app = shop.person()
        app.stop()
        with pytest.raises(Exception, match="stopped before the rollout was opened"):
            await app.deploy(release("v1"), Options())

    assert lease_is_free(story(tell, users=False))


def test_other_settings_are_another_rollout() -> None:
    async def tell(shop: Shop) -> None:
        app = shop.person()
        going = spawn(app.deploy(release("v1"), Options()))
        await shop.until(lambda: "Opened" in shop.kinds(1))
        app.stop()
        await going
        with pytest.raises(Refused, match="is open; nobody drives it") as refused:
            await shop.deploy("v1", settings_hash="changed")
        assert refused.value.details == ("this deploy differs from it in version or settings",)

    story(tell, users=False)


# -- when the release is bad -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (Behaviour(ready_after=1e9), "did not become healthy"),
        (Behaviour(dies_after=4.0), "before it was ever well"),
        (Behaviour(fails=0.5), "failed"),
    ],
)
def test_a_bad_release_goes_back_by_itself(behaviour: Behaviour, reason: str) -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        shop.world.behaves(release("v2"), behaviour)
        ending = await shop.deploy("v2")
        assert result(ending) == "rolled_back"
        assert reason in stored_reason(ending)
        assert shop.serving() == shop.all_of(BLUE)

    assert not story(tell).world.lost


def stored_reason(ending: Ending) -> str:
    assert ending.journal.returning is not None
    return ending.journal.returning.reason


def test_a_first_deploy_that_fails_says_so_and_can_be_tried_again() -> None:
    async def tell(shop: Shop) -> None:
        shop.world.behaves(release("v1"), Behaviour(ready_after=1e9))
        assert result(await shop.deploy("v1")) == "failed"
        assert shop.versions == set()
        assert result(await shop.deploy("v2")) == "done"

    story(tell)


def test_tests_that_fail_go_back_before_any_user_saw_it() -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        app = shop.person(tests=(Hook(name="smoke", command=("smoke",)),))
        shop.ports.command_ok["smoke"] = False
        ending = await app.deploy(release("v2"), Options())
        assert (result(ending), stored_reason(ending)) == ("rolled_back", "test smoke failed")
        assert release("v2").id not in shop.world.served

    assert story(tell).unharmed()


def test_a_hook_that_nobody_knows_the_end_of_asks_a_person_and_promote_settles_it() -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        hooks = (Hook(name="before_shift", command=("migrate",)),)
        app = shop.person(hooks=hooks)
        going = spawn(app.deploy(release("v2"), Options()))
        await shop.until(lambda: "CommandStarted" in shop.kinds(2))
        shop.kill(going)
        ending = await shop.person("bob", hooks=hooks).resume()
        assert isinstance(ending.end, Halt)
        assert ending.end.needs_person
        assert lease_is_free(shop)
        assert result(await shop.person("bob", hooks=hooks).promote(full=False)) == "done"

    assert story(tell).unharmed()


def test_an_unmanaged_stable_is_never_stopped() -> None:
    async def tell(shop: Shop) -> None:
        strange = release("by-hand")
        shop.world.serve_from(BLUE, strange)
        ending = await shop.deploy("v1")
        assert result(ending) == "done"
        assert shop.serving() == shop.all_of(GREEN)
        assert shop.versions == {release("v1").id, strange.id}

    assert story(tell).unharmed()


# -- looking ---------------------------------------------------------------------------------------------------


def test_history_is_newest_first_and_explains_itself() -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        await shop.deploy("v2")
        app = shop.person()
        past = await app.history()
        assert [(p.rollout.number, p.rollout.candidate.version) for p in past] == [(2, "v2"), (1, "v1")]
        assert [r.version for r in await app.known()] == ["v2", "v1"]
        with pytest.raises(Refused, match="there is no rollout 7"):
            await app.journal(7)

    story(tell)


def test_the_forecast_is_what_a_calm_drive_does() -> None:
    """The same changes of traffic, in the same order, and about as long."""

    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        foreseen = await shop.person().foresee(release("v2"), Options())
        ending = await shop.deploy("v2")
        names = [step.name for step in foreseen.steps]
        assert names.index("prepare") < names.index("shift") < names.index("commit") < names.index("bake")
        assert 0.3 < foreseen.seconds / ending.seconds < 3
        assert foreseen.changes[0].before == "v1"

    story(tell)


def test_nobody_drives_is_said_to_who_follows() -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        await shop.deploy("v2", Options(until_commit=True))
        with pytest.raises(Exception, match="is open and nobody drives it"):
            await shop.person("bob").follow()
        changed = msgspec.structs.replace(stored(shop), finished="done")
        assert changed.finished

    story(tell)


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_driver_that_sees_a_larger_fence_on_a_host_ends_before_its_next_change(epoch: int) -> None:
    """Its own home is alive and renews its lease: it was replaced behind a broken line."""

    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        driving = spawn(shop.deploy("v2"))
        await shop.until(lambda: "Warmed" in shop.kinds(2))
        for host in shop.world.hosts.values():
            host.fence = first_fence(epoch) + 1000
        before = shop.kinds(2).count("Asked")
        with pytest.raises(LeaseLost, match="another driver has taken over"):
            await driving
        assert shop.kinds(2).count("Asked") <= before + 1  # one that was on its way already
        assert shop.all_of(BLUE) <= shop.serving()  # nothing of stable was taken away

    assert story(tell).unharmed()


@pytest.mark.parametrize(("fence", "said"), [(50, "lost its memory"), (first_fence(3), "was replaced")])
def test_nothing_is_opened_below_a_fence_that_hosts_remember(fence: int, said: str) -> None:
    async def tell(shop: Shop) -> None:
        for host in shop.world.hosts.values():
            host.fence = fence
        with pytest.raises(Refused, match=f"the home of shop {said}") as caught:
            await shop.deploy("v1")
        assert "celadon store adopt" in (caught.value.hint or "")

    shop = story(tell, users=False)
    assert shop.world.intent is None
    assert lease_is_free(shop)
