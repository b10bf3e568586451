"""`celadon history [ROLLOUT] [--html FILE]`, `--verify FILE`: all rollouts, one's evidence, its certificate."""

from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from celadon.cli import ending as endings
from celadon.cli import events, evidence, failure
from celadon.cli.app import Connected
from celadon.cli.call import Call
from celadon.cli.certificate.page import html as certificate_page
from celadon.cli.figures import clock, day, table
from celadon.cli.output import Result
from celadon.core.certificate import Certificate, certify
from celadon.core.doubts import doubts
from celadon.core.errors import CeladonError, Refused
from celadon.drive.app import Past


async def run(call: Call) -> Result:
    if call.values["verify"] is not None:
        return _verify(call, call.values["verify"])
    number = _number(call.values["rollout"])
    if number is None and call.values["html"] is not None:
        raise Refused("--html belongs to one rollout", hint="celadon history 14 --html FILE")
    async with call.connected() as connected:
        if number is None:
            return _all(call, await connected.app.history())
        return await _one(call, connected, await connected.app.journal(number))


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise Refused(f"{text!r} is not a rollout's number", hint="celadon history lists them")
    return int(text)


def _all(call: Call, pasts: list[Past]) -> Result:
    rows = [
        (
            str(past.rollout.number),
            day(past.events[0].at if past.events else past.rollout.opened_utc),
            " → ".join(evidence.versions(past)),
            evidence.result(past),
            f"{past.journal.sent:,}",
            f"{past.journal.failed:,}",
            clock(evidence.seconds(past)),
            past.rollout.opened_by or "-",
        )
        for past in pasts
    ]
    if rows:
        call.output.data(table(("rollout", "opened", "release", "result", "requests", "failed", "took", "by"), rows))
    else:
        call.output.say("nothing was deployed yet")
    return Result(keys={"rollouts": [_brief(past) for past in pasts]})


def _brief(past: Past) -> dict[str, Any]:
    before, after = evidence.versions(past)
    return {
        "rollout": past.rollout.number,
        "kind": past.rollout.kind,
        "from": before if before != "-" else None,
        "to": after,
        "result": past.journal.finished.result if past.journal.finished is not None else None,
        "requests": past.journal.sent,
        "failed": past.journal.failed,
        "opened": past.events[0].at if past.events else past.rollout.opened_utc,
        "opened_by": past.rollout.opened_by,
        "seconds": round(evidence.seconds(past), 1),
    }


async def _one(call: Call, connected: Connected, past: Past) -> Result:
    it = certify(past.rollout, past.events)
    signed: dict[str, Any] = {}
    if call.values["html"] is not None:
        signed = {"signed_by": await _write(call, connected, past, it)}
    else:
        call.output.data(evidence.lines(past))
    ending = evidence.ending_of(past)
    return Result(
        keys={
            "rollout": past.rollout.number,
            "events": [events.as_line(event) for event in past.events],
            "evidence": endings.keys(ending, endings.verdict(ending, "back")),
            "certificate": {**msgspec.to_builtins(it), "not_proven": list(doubts(it))},
            **signed,
        }
    )


async def _write(call: Call, connected: Connected, past: Past, it: Certificate) -> str | None:
    """The certificate as one file, signed where a key is at hand. Returns the key's fingerprint."""
    from celadon.cli.certificate import paper  # noqa: PLC0415 - imports asyncssh, which only this needs

    target: Path = call.values["html"]
    page = partial(certificate_page, it, past.events)
    text, signer, why = await paper.signed(page, _named_keys(call, connected), call.environ, connected.project)
    try:
        (call.cwd / target).write_bytes(text)
    except OSError as error:
        raise Refused(f"{target}: cannot be written: {error.strerror}", hint="another FILE") from None
    call.output.say(f"wrote {target}, {f'signed with {signer}' if signer else f'not signed: {why}'}")
    return signer or None


def _named_keys(call: Call, connected: Connected) -> list[Path]:
    """The keys by which the home is reached, as the SSH configs name them."""
    from celadon.adapters.ssh import SshSettings, identity_files  # noqa: PLC0415 - see above

    config = call.environ.get("CELADON_SSH_CONFIG")
    settings = SshSettings(connected.project.known_hosts, Path(config).expanduser() if config else None)
    return identity_files(connected.hosts[0].ssh, settings) if connected.hosts else []


def _verify(call: Call, file: Path) -> Result:
    from celadon.cli.certificate import paper  # noqa: PLC0415 - see above

    found = paper.read(call.cwd / file, _known_signers(call))
    keys: dict[str, Any] = {
        "verified": found.judgement == "genuine",
        "judgement": found.judgement,
        "signer": found.signer or None,
        "fingerprint": found.fingerprint or None,
        "line": found.line or None,
    }
    if found.judgement == "genuine":
        call.output.data(f"genuine: signed by {found.signer} ({found.fingerprint}), and unchanged since")
        return Result(keys=keys)
    error = paper.refusal(file, found)
    call.output.error(failure.lines(error))
    return Result(result="refused", exit=error.exit_code, keys={**keys, "error": failure.as_json(error)})


def _known_signers(call: Call) -> Path:
    """The project's, or those beside the reader, who may have no project."""
    try:
        return call.project.allowed_signers
    except CeladonError:
        return call.cwd / ".celadon" / "allowed_signers"
