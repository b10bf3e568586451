"""What the agent can be asked, by name: arguments checked, effects behind the fence."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

from celadon.agent import bind, execute, fence, home, paths, probe, replicas, runtimes, settings, slots, store, trials
from celadon.agent.main import Channel
from celadon.agent.wire import STDOUT

WARM_UP_AT_ONCE = 4
Args = dict[str, Any]


def look(args: Args, _channel: Channel) -> Any:
    return slots.look(paths.app_name(args["app"]), args)


def warm_up(args: Args, _channel: Channel) -> None:
    """Answers are not judged: the probe has done that, or will."""
    slot, requests = args["slot"], int(args["requests"])
    address, port = bind.resolve(slot["address"]), paths.port_number(slot["port"])
    todo = iter([args["paths"][number % len(args["paths"])] for number in range(requests)] if args["paths"] else [])
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                path = next(todo, None)
            if path is None:
                return
            probe.ask(address, port, {**args["probe"], "path": path})

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(WARM_UP_AT_ONCE, requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def tail(args: Args, _channel: Channel) -> list[str]:
    app, release_id = paths.app_name(args["app"]), paths.release_id(args["release"])
    for runtime in runtimes.of_release(app, release_id):
        lines: list[str] = runtime.tail(app, release_id, args["slot"], int(args["lines"]))
        if lines:
            return lines
    return []


def logs(args: Args, channel: Channel) -> None:
    """Lines as JSON lines on the stream: [seconds since 1970 or null, line]; with `follow` until cancelled."""
    app, release_id = paths.app_name(args["app"]), paths.release_id(args["release"])
    cancelled = channel.cancelled if args["follow"] else None
    for runtime in runtimes.of_release(app, release_id):
        for at, line in runtime.log(app, release_id, args["slot"], int(args["lines"]), cancelled):
            channel.write(STDOUT, json.dumps([at, line]).encode("ascii") + b"\n")


def raise_fence(args: Args, _channel: Channel) -> None:
    fence.raise_to(paths.app_name(args["app"]), int(args["fence"]))


def put_settings(args: Args, _channel: Channel) -> None:
    release = _release(args["release"])
    with _effect(args) as app:
        settings.put(app, release, {str(name): str(value) for name, value in args["values"].items()})


def put_artifact(args: Args, channel: Channel) -> int:
    """Long, and nothing is changed by it that anybody uses: checked before, and not held while it goes on."""
    release = _release(args["release"])
    with _effect(args) as app:
        runtime = runtimes.for_name(release["runtime"])
    moved: int = runtime.put_artifact(app, release, channel.read, args.get("credentials"))
    return moved


def start(args: Args, _channel: Channel) -> None:
    release = _release(args["placement"]["release"])
    with _effect(args) as app:
        settings.mark_started(app, release["id"])
        runtimes.for_name(release["runtime"]).start(app, args["placement"])


def stop(args: Args, _channel: Channel) -> int | None:
    release_id = paths.release_id(args["release"])
    with _effect(args) as app:
        counts = [
            runtime.stop(app, release_id, args["slot"], float(args["grace"]))
            for runtime in runtimes.of_release(app, release_id)
        ]
    return None if None in counts else sum(counts)


def prune(args: Args, _channel: Channel) -> None:
    keep = [paths.release_id(one) for one in args["keep"]]
    with _effect(args) as app:
        gone = [settings.release(app, one) for one in settings.present(app) if one not in keep]
        for name, runtime in runtimes.present(app).items():
            artifacts = sorted(str(one["artifact"]) for one in gone if one.get("runtime") == name)
            runtime.prune(app, keep, paths.host_name(args["host"]), artifacts)
        settings.prune(app, sorted(set(keep) | replicas.prune(app, keep)))


def read_document(args: Args, _channel: Channel) -> Any:
    return store.read_document(paths.app_name(args["app"]), args["name"])


def swap_document(args: Args, _channel: Channel) -> bool:
    return store.swap_document(paths.app_name(args["app"]), args["name"], args["old"], args["new"])


def read_journal(args: Args, _channel: Channel) -> dict[str, Any]:
    events, more = store.read_journal(paths.app_name(args["app"]), int(args["rollout"]), int(args["start"]))
    return {"events": events, "more": more}


def append(args: Args, _channel: Channel) -> None:
    app, rollout, start_at = paths.app_name(args["app"]), int(args["rollout"]), int(args["start"])
    store.append(app, rollout, start_at, args["events"], int(args["fence"]))


def rollouts(args: Args, _channel: Channel) -> list[int]:
    return store.rollouts(paths.app_name(args["app"]))


def releases(args: Args, _channel: Channel) -> list[Any]:
    return home.releases(paths.app_name(args["app"]))


def home_facts(args: Args, _channel: Channel) -> dict[str, Any]:
    return home.facts(paths.app_name(args["app"]))


def home_claim(args: Args, _channel: Channel) -> None:
    home.claim(paths.app_name(args["app"]), home.seat_of(args["seat"]), int(args["fence"]))


def home_receive(args: Args, _channel: Channel) -> None:
    """The first piece (neither documents nor a journal) begins the copy anew."""
    app, seat, fence_ = paths.app_name(args["app"]), home.seat_of(args["seat"]), int(args["fence"])
    if "journal" in args:
        home.receive_events(app, seat, fence_, int(args["journal"]), int(args["start"]), args["events"])
    elif "documents" in args:
        home.receive(app, seat, fence_, args["documents"])
    else:
        home.begin(app, seat, fence_)


def home_seal(args: Args, _channel: Channel) -> str:
    return home.seal(paths.app_name(args["app"]), home.seat_of(args["seat"]), int(args["fence"]))


def home_digest(args: Args, _channel: Channel) -> str:
    return home.digest(paths.app_name(args["app"]))


def home_leave(args: Args, _channel: Channel) -> bool:
    app, seat = paths.app_name(args["app"]), home.seat_of(args["seat"])
    return home.leave(app, seat, int(args["fence"]), args["lease"], args["digest"])


def home_open(args: Args, _channel: Channel) -> None:
    home.open_copy(paths.app_name(args["app"]), home.seat_of(args["seat"]))


def home_found(args: Args, _channel: Channel) -> None:
    app, seat = paths.app_name(args["app"]), home.seat_of(args["seat"])
    home.found(app, seat, int(args["fence"]), args["lease"], args["adopted"])


@contextlib.contextmanager
def _effect(args: Args) -> Iterator[str]:
    """Behind the fence; gives the app's checked name."""
    app = paths.app_name(args["app"])
    with fence.effect(app, int(args["fence"])):
        yield app


def _release(release: dict[str, Any]) -> dict[str, Any]:
    paths.release_id(release["id"])
    return release


HANDLERS = {
    "look": look,
    "warm_up": warm_up,
    "try_out": trials.try_out,
    "tail": tail,
    "logs": logs,
    "run": execute.run,
    "raise_fence": raise_fence,
    "put_settings": put_settings,
    "put_artifact": put_artifact,
    "start": start,
    "stop": stop,
    "prune": prune,
    "read_document": read_document,
    "swap_document": swap_document,
    "read_journal": read_journal,
    "append": append,
    "rollouts": rollouts,
    "releases": releases,
    "home_facts": home_facts,
    "home_claim": home_claim,
    "home_receive": home_receive,
    "home_seal": home_seal,
    "home_digest": home_digest,
    "home_leave": home_leave,
    "home_open": home_open,
    "home_found": home_found,
}
