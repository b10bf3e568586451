"""What a trial measured, as findings: each thing that would lose requests is one warning with a hint. Pure."""

from collections.abc import Iterator

from celadon.cli.figures import safe, size
from celadon.cli.losses import Finding
from celadon.config.model import Config
from celadon.core.trial import TrialFacts

SHELLS = ("sh", "bash", "dash", "ash", "zsh", "busybox")
LAST_LINES = 5
NEAR = 0.8  # of a limit: the next machine is slower


def superseded(facts: TrialFacts) -> frozenset[str]:
    """The names of predictions that the trial has answered."""
    if facts.listening is None:
        return frozenset({"start"})
    stopped = {"pid 1"} if facts.patience else set()
    return frozenset({"start", "port", "address"} | stopped)


def findings(config: Config, facts: TrialFacts, slow: str) -> list[Finding]:
    """`slow`: the path that was asked to take seconds; empty: none was."""
    return [*_came_up(config, facts), *_stopped(config, facts), *_in_flight(facts, slow)]


def _came_up(config: Config, facts: TrialFacts) -> Iterator[Finding]:
    within = config.health.start_within.total_seconds()
    if facts.patience == 0:
        code = "" if facts.exit_code is None else f" (exit {facts.exit_code})"
        yield Finding(
            "start", "warning", f"it ended by itself{code}: a deploy would fail, and be taken back", _said(facts)
        )
        return
    moved = f", {size(facts.moved)} moved" if facts.moved else ""
    if facts.listening is None:
        yield _nowhere(config, facts, within)
        return
    yield Finding("start", "ok", f"listens on {facts.port} after {facts.listening:.1f} s{moved}")
    if facts.passed is None:
        yield _unwell(config, facts)
    elif facts.passed > NEAR * within:
        text = f"{config.health.path} passed only after {facts.passed:.1f} s, of {within:g} s (health.start_within)"
        yield Finding("health", "warning", text, f'health.start_within = "{2 * facts.passed:.0f}s"')
    else:
        yield Finding("health", "ok", f"{config.health.path} passed {facts.passed:.1f} s after the start")


def _nowhere(config: Config, facts: TrialFacts, within: float) -> Finding:
    told = "{port}, PORT" if config.runtime == "venv" else "port, PORT"
    right = [each for each in facts.elsewhere if each.endswith(f":{facts.port}")]
    if right:
        text = f"it listens on {right[0]} only, where no NodeBalancer reaches it"
        return Finding("port", "warning", text, "use {host}: the private address, or 0.0.0.0 in a container")
    if facts.elsewhere:
        text = f"it listens on {', '.join(facts.elsewhere)} and not on {facts.port}, as it was told ({told})"
        hint = f"port = {facts.elsewhere[0].rpartition(':')[2]} in celadon.toml, or let it read PORT"
        if config.runtime == "venv":
            hint = 'like command = ["gunicorn", "-b", "{host}:{port}", "app:app"], or let it read PORT'
        return Finding("port", "warning", text, hint)
    return Finding("port", "warning", f"it listened on no port within {within:g} s", _said(facts))


def _unwell(config: Config, facts: TrialFacts) -> Finding:
    path, answer = config.health.path, facts.probe
    status = answer.status if answer is not None else None
    if status is not None and 300 <= status < 400:
        where = f" to {safe(facts.location)}" if facts.location else ""
        text = f"{path} redirects{where} ({status}): a redirect proves nothing"
        return Finding("health", "warning", text, "health.path = where it leads, or set url so that Host and https fit")
    hints = {
        400: "does it accept the Host header? health.host_header, or url, says which is sent",
        404: "the application has no such path: health.path says which is asked",
        401: "a health path must answer without a login",
        403: "a health path must answer without a login",
    }
    why = f"answered {status}" if status is not None else safe(answer.error) if answer is not None else "was not asked"
    text = f"{path} {why}: the release would never be found healthy"
    return Finding("health", "warning", text, hints.get(status or 0, _said(facts)))


def _stopped(config: Config, facts: TrialFacts) -> Iterator[Finding]:
    if facts.patience == 0:
        return
    allowed = config.rollout.stop_timeout.total_seconds()
    if facts.stopped is None:
        yield _deaf(config, facts, allowed)
    elif facts.stopped > NEAR * allowed:
        text = f"it ended only {facts.stopped:.1f} s after SIGTERM, and is killed after {allowed:g} s"
        yield Finding("stop", "warning", text, f'rollout.stop_timeout = "{2 * facts.stopped:.0f}s"')
    else:
        yield Finding("stop", "ok", f"ended {facts.stopped:.1f} s after SIGTERM (killed after {allowed:g} s)")


def _deaf(config: Config, facts: TrialFacts, allowed: float) -> Finding:
    program = safe(facts.program) or "the first process"
    lasts = f"each stop lasts {allowed:g} s and ends in SIGKILL"
    if facts.hears is not False:
        text = f"it still ran {facts.patience:g} s after SIGTERM (rollout.stop_timeout): {lasts}"
        return Finding("stop", "warning", text, "end the server on SIGTERM, once open requests are answered")
    if config.runtime == "docker" and program in SHELLS:
        hint = 'use the list form: CMD ["gunicorn", …]; or start the line with exec'
        return Finding("pid 1", "warning", f"a shell ({program}) is PID 1 and passes no SIGTERM on: {lasts}", hint)
    if config.runtime == "docker":
        text = f"{program} is PID 1 and does nothing about SIGTERM: {lasts}"
        return Finding("pid 1", "warning", text, 'handle SIGTERM, or put an init in front: ENTRYPOINT ["tini", "--"]')
    return Finding("stop", "warning", f"{program} ignores SIGTERM: {lasts}", "gunicorn and uvicorn end by themselves")


def _in_flight(facts: TrialFacts, slow: str) -> Iterator[Finding]:
    if facts.listening is None:
        return
    if not slow:
        yield Finding("in flight", "ok", "not measured: --slow PATH names one that takes seconds to answer")
        return
    found = facts.slow
    if found is None or not found.in_flight:
        said = "" if found is None else f" in {found.seconds:.1f} s"
        text = f"{slow} was answered{said}, before SIGTERM: nothing was measured"
        yield Finding("in flight", "warning", text, "--slow needs a path that takes two seconds or more")
    elif found.status is None:
        text = f"a request in flight at SIGTERM was cut after {found.seconds:.1f} s ({safe(found.error)})"
        hint = (
            "a server that answers first what has begun (gunicorn, uvicorn); else what outlasts rollout.drain is lost"
        )
        yield Finding("in flight", "warning", text, hint)
    else:
        text = f"a request in flight at SIGTERM was answered: {found.status} after {found.seconds:.1f} s"
        yield Finding("in flight", "ok", text)


def _said(facts: TrialFacts) -> str:
    last = [f"| {safe(line)[:200]}" for line in facts.lines[-LAST_LINES:]]
    return "\n".join(["its last lines:", *last]) if last else "it wrote nothing"
