"""A forecast as people read it: the question before a deploy, and `celadon plan`. Pure."""

from celadon.cli.app import Connected
from celadon.cli.figures import clock
from celadon.drive.forecast import Forecast

SHORT = 19  # characters of a digest that are shown: `sha256:` and twelve


def title(forecast: Forecast, connected: Connected) -> str:
    app, colour = connected.wanted.app, forecast.candidate_colour
    current = f"{forecast.current.version} ({colour.other}, live)" if forecast.current is not None else "nothing yet"
    about = clock(forecast.seconds)
    return f"{app} {current} → {forecast.candidate.version} ({colour}), blue-green, about {about}"


def question(forecast: Forecast, connected: Connected) -> list[str]:
    """What one must know before saying yes."""
    lines = [title(forecast, connected)]
    lines += [f"  {line}" for line in changes(forecast)]
    if forecast.current is not None:
        lines.append(
            f"  on failure: all traffic on {forecast.current.version}, by the balancer alone until the bake ends"
        )
    else:
        lines.append("  a first deploy: there is nothing to go back to, so it has no bake")
    return lines + [f"  warning: {text}" for text in forecast.warnings]


def changes(forecast: Forecast) -> list[str]:
    shown = [change for change in forecast.changes if change.what != "release"]
    width = max((len(change.what) for change in shown), default=0)
    return [f"{change.what:<{width}}  {_short(change.before)} → {_short(change.after)}" for change in shown]


def steps(forecast: Forecast) -> list[str]:
    width = max((len(step.name) for step in forecast.steps), default=0)
    return [f"  {step.name:<{width}}  {clock(step.seconds):>6}  {step.because}" for step in forecast.steps]


def _short(text: str) -> str:
    name, at, digest = text.rpartition("sha256:")
    if not at:
        return text
    return f"{name}{at}{digest}"[: len(name) + SHORT] + "…"
