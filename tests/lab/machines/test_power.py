"""What belongs to an instance, and what becomes of it: power, faults, deletion."""

import asyncio

import pytest
from tests.lab.machines.conftest import Site, alive, state
from tests.lab.waiting import until

pytestmark = pytest.mark.slow  # machines' real processes

# A daemon as they come: it forks twice, opens a session of its own and lets go of its standard streams.
DAEMON = "setsid sh -c 'echo $$ > %s; exec sleep 1000' >/dev/null 2>&1 </dev/null &"


async def daemon(site: Site, number: int, name: str = "daemon") -> int:
    await site.run(number, DAEMON % name)
    file = site.home(number) / name
    await until(lambda: file.exists() and file.read_text().endswith("\n"), f"{name} started")
    return int(file.read_text())


async def test_shutdown_ends_all_of_its_processes_and_only_its_own(site: Site) -> None:
    await site.add(1)
    await site.add(2)
    mine, other = await daemon(site, 1), await daemon(site, 2)
    connection = await site.connect(1)
    await connection.create_process("sleep 1000 & sleep 1000")
    await site.machines.shutdown(1)
    assert not alive(mine)
    assert site.pids(1) == set()
    assert alive(other)
    await connection.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        await site.connect(1)
    assert str((await site.run(2, "echo fine")).stdout) == "fine\n"


async def test_a_process_that_cleared_its_environment_still_belongs_to_its_session(site: Site) -> None:
    await site.add(1)
    await site.run(1, "env -i sh -c 'echo $$ > bare; exec sleep 1000' >/dev/null 2>&1 </dev/null &")
    file = site.home(1) / "bare"
    await until(lambda: file.exists() and file.read_text().endswith("\n"), "it started")
    pid = int(file.read_text())
    assert pid not in site.pids(1), "its environment says nothing"
    await site.machines.shutdown(1)
    assert not alive(pid)


async def test_shutdown_asks_first_and_then_insists(site: Site) -> None:
    await site.add(1)
    await site.run(
        1, "sh -c 'trap \"echo asked > asked; exit\" TERM; touch a; while :; do sleep 0.02; done' >&- 2>&- &"
    )
    await site.run(1, "sh -c 'trap \"\" TERM; echo $$ > c; mv c b; while :; do sleep 0.02; done' >&- 2>&- &")
    home = site.home(1)
    await until(lambda: all((home / name).exists() for name in "ab"), "both run")
    await site.machines.shutdown(1)
    assert (home / "asked").read_text() == "asked\n"
    assert not alive(int((home / "b").read_text()))


async def test_boot_runs_the_executables_of_boot_d(site: Site) -> None:
    await site.add(1)
    folder = site.home(1) / ".config" / "celadon" / "boot.d"
    script = folder / "supervisor"
    script.write_text("#!/bin/sh\necho $$ >> $HOME/boots; echo hello; exec sleep 1000\n")
    script.chmod(0o755)
    (folder / "notes").write_text("#!/bin/sh\ntouch $HOME/wrong\n")  # not executable
    (folder / "broken").write_text("#!/nonexistent\n")
    (folder / "broken").chmod(0o755)
    boots = site.home(1) / "boots"
    for count in (1, 2):
        await site.machines.shutdown(1)
        await site.machines.boot(1)
        await until(lambda count=count: boots.exists() and boots.read_text().count("\n") == count, "started")  # type: ignore[misc]
    first, second = map(int, boots.read_text().split())
    assert not alive(first)
    assert alive(second)
    await site.machines.boot(1)
    assert boots.read_text().count("\n") == 2, "booting a running machine does nothing"
    assert str((await site.run(1, "echo up")).stdout) == "up\n"
    log = (site.paths.machines / "1" / "boot.log").read_text()
    assert "hello" in log
    assert "broken: " in log
    assert not (site.home(1) / "wrong").exists()
    await site.machines.shutdown(1)
    assert not alive(second)


async def test_delete_leaves_nothing(site: Site) -> None:
    machine = await site.add(1)
    pid = await daemon(site, 1)
    await site.machines.delete(1)
    assert not alive(pid)
    assert not (site.paths.machines / "1").exists()
    assert site.machines.translate(machine.private_address) is None
    await site.machines.delete(1)  # again: nothing to do


async def test_a_machine_that_dies_refuses_until_it_is_booted(site: Site) -> None:
    await site.add(1)
    pid = await daemon(site, 1)
    connection = await site.connect(1)
    await site.machines.fault(1, "die")
    await connection.wait_closed()
    assert not alive(pid)
    with pytest.raises(ConnectionRefusedError):
        await site.connect(1)
    await site.machines.fault(1, "thaw")  # nothing more can happen to a dead one
    with pytest.raises(ConnectionRefusedError):
        await site.connect(1)
    await site.machines.boot(1)
    assert int(str((await site.run(1, "cat daemon")).stdout)) == pid, "its disk is as it was"


async def test_a_frozen_machine_says_nothing_and_goes_on_when_thawed(site: Site) -> None:
    await site.add(1)
    pid = await daemon(site, 1)
    async with await site.connect(1) as connection:
        await site.machines.fault(1, "freeze")
        assert state(pid) == "T"
        pending = asyncio.create_task(connection.run("echo later", check=True))
        newcomer = asyncio.create_task(site.connect(1))
        done, _ = await asyncio.wait({pending, newcomer}, timeout=0.5)
        assert not done
        await site.machines.fault(1, "thaw")
        async with asyncio.timeout(20):
            assert (await pending).stdout == "later\n"
            async with await newcomer as second:
                assert (await second.run("echo new")).stdout == "new\n"
    assert state(pid) == "S"


async def test_a_frozen_machine_can_be_shut_down(site: Site) -> None:
    await site.add(1)
    pid = await daemon(site, 1)
    await site.machines.fault(1, "freeze")
    await site.machines.shutdown(1)
    assert not alive(pid)
    await site.machines.boot(1)
    assert str((await site.run(1, "echo up")).stdout) == "up\n"


async def test_cut_ssh_resets_what_is_open_and_nothing_else(site: Site) -> None:
    await site.add(1)
    pid = await daemon(site, 1)
    connection = await site.connect(1)
    running = asyncio.create_task(connection.run("sleep 1000"))
    await asyncio.sleep(0.1)
    await site.machines.fault(1, "cut_ssh")
    async with asyncio.timeout(20):
        await connection.wait_closed()
        assert (await running).exit_status is None, "nobody says how it ended"
    assert str((await site.run(1, "echo again")).stdout) == "again\n"
    assert alive(pid)


async def test_without_its_network_nothing_arrives_and_later_everything_does(site: Site) -> None:
    machine = await site.add(1)
    async with await site.connect(1) as connection:
        process = await connection.create_process("echo start; read line; echo end $line")
        assert await process.stdout.readline() == "start\n"
        await site.machines.fault(1, "lose_network")
        assert site.machines.translate(machine.private_address) is None
        assert not site.machines.reachable(machine.address)
        process.stdin.write("word\n")
        waiting = asyncio.create_task(process.stdout.readline())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.open_connection(machine.address, site.machines.ssh_port(1)), 0.3)
        assert not waiting.done()
        await site.machines.fault(1, "restore_network")
        async with asyncio.timeout(20):
            assert await waiting == "end word\n"
    assert site.machines.translate(machine.private_address) == machine.address
    assert site.machines.reachable(machine.address)
    assert str((await site.run(1, "echo again")).stdout) == "again\n"
