"""The certificate's figures in words, for the page and the terminal alike. Pure."""

from collections.abc import Mapping

from celadon.cli.certificate.timeline import took
from celadon.cli.figures import clock, count, day, many, percent
from celadon.core.certificate import Certificate
from celadon.core.evidence import Phase

PHASES: dict[Phase, str] = {"before": "before the switch", "during": "during it", "after": "after it"}


def headline(it: Certificate) -> str:
    candidate, stable = it.candidate, it.stable
    match it.result:
        case "done":
            return f"{candidate.version} is live on {candidate.colour}"
        case "rolled_back":
            there = stable.version if stable is not None else "what was there before"
            return f"{there} serves; {candidate.version} was taken back"
        case "failed":
            return f"{candidate.version} did not come up; nothing serves"
        case _:
            return f"{candidate.version} is on its way"


def verdict(it: Certificate) -> tuple[str, bool]:
    """In a few words, and whether they are good news for whoever uses the application."""
    if it.result is None:
        return "open", not it.requests.failed
    if it.requests.failed:
        return f"{it.result.replace('_', ' ')}, {many(it.requests.failed, 'request')} failed", False
    if it.result == "failed":
        return "failed", False
    if not it.requests.sent:
        return f"{it.result.replace('_', ' ')}, nothing was measured", False
    return f"{it.result.replace('_', ' ')}, no request failed", True


def bound(it: Certificate) -> str:
    if not it.requests.ok + it.requests.failed:
        return "so nothing is known"
    return f"{it.requests.confidence * 100:.0f} % sure: fewer than {percent(it.requests.bound)} % fail"


def lag(it: Certificate) -> str:
    if it.stable is None:
        return "there was no old release of ours"
    if it.switch_lag is None:
        return "it was not measured" if it.moved else "no traffic was moved"
    return "after the balancer was told to switch" if it.switch_lag else "no request met it after the switch"


def lag_figure(it: Certificate) -> str:
    """Zero is what was seen, and requests are some time apart: `0 ms` would claim more."""
    if it.switch_lag is None:
        return "not known"
    return took(it.switch_lag) if it.switch_lag else "none did"


def cut(it: Certificate) -> tuple[str, str]:
    """The figure and its note."""
    if not it.cut:
        return "0", "nothing was stopped"
    unknown = sum(count is None for count in it.cut.values())
    note = "when replicas were stopped"
    if it.open_at_retire:
        known = [each for each in it.open_at_retire.values() if each is not None]
        note = f"{many(sum(known), 'connection')} open when the old release retired"
    if unknown:
        return (f"{count(it.all_cut)} or more", f"{many(unknown, 'slot')} could not be counted")
    return count(it.all_cut), note


def served(it: Certificate) -> str:
    parts = [f"{it.versions.get(id_, id_)} {count(n)}" for id_, n in sorted(it.served.items(), key=lambda i: -i[1])]
    if not parts and any(counted > error for counted, error in it.counted.values()):
        return by_count(it.versions, it.counted, it.uncounted)
    if not parts:
        return "unproven: no answer said which release gave it (set verify.contains)"
    return " · ".join([*parts, f"unproven {count(it.unproven)}"])


def by_count(versions: Mapping[str, str], figures: Mapping[str, tuple[int, int]], uncounted: int) -> str:
    """The error is the balancer's health checks: how many of them there were is known by its interval only."""
    parts = [f"{versions.get(release, release)} {n:,} ± {error:,}" for release, (n, error) in sorted(figures.items())]
    gaps = f"; {many(uncounted, 'look')} could not count" if uncounted else ""
    return f"{' · '.join(parts)}, by connections counted (not by answers){gaps}"


def speeds(it: Certificate) -> list[tuple[str, str, str, str]]:
    return [
        (name, count(speed.answers), took(speed.p50), took(speed.p99))
        for phase, name in PHASES.items()
        if (speed := it.speed.get(phase)) is not None
    ]


def facts(it: Certificate) -> list[tuple[str, str]]:
    """What is the case, for the reader who checks."""
    stable, candidate, requests = it.stable, it.candidate, it.requests
    counts = f"{count(requests.ok)} good, {count(requests.failed)} failed, {count(requests.unknown)} lost on our side"
    open_ = ", ".join(f"{slot} {'?' if n is None else n}" for slot, n in sorted(it.open_at_retire.items()))
    cuts = ", ".join(f"{slot} {'?' if n is None else n}" for slot, n in sorted(it.cut.items()))
    rows = [
        ("release", f"{candidate.version} on {candidate.colour} (id {candidate.id})"),
        ("artifact", candidate.artifact),
        ("before it", f"{stable.version} on {stable.colour} (id {stable.id}), {stable.artifact}" if stable else ""),
        ("kind", f"{it.kind} of {it.app} on balancer {it.balancer}"),
        ("settings hash", it.settings_hash),
        ("opened", f"{day(it.opened)} by {it.opened_by or 'unknown'}"),
        ("driven by", ", ".join(it.drivers)),
        ("Celadon", it.celadon),
        ("requests", f"{count(requests.sent)} to {it.url}, {it.rate:g} a second: {counts}"),
        ("failure rate", bound(it)),
        ("served by", served(it)),
        ("switch lag", f"{took(it.switch_lag)} {lag(it)}" if it.switch_lag else lag(it)),
        ("open at retire", open_),
        ("cut at stop", cuts),
        ("tests passed", ", ".join(it.tests) or "none were run"),
        ("stages", " · ".join(f"{span.name} {clock(span.end - span.start)}" for span in it.stages)),
    ]
    return [(name, text) for name, text in rows if text]
