"""What a certificate does not prove, said plainly: one sentence each, the most telling first. Pure.

A figure without its limits is advertising. Whoever adds a figure to the certificate adds here what it leaves open.
"""

from collections.abc import Iterator

from celadon.core.certificate import Certificate

LINODE_SETTLE = 60.0  # seconds: what Linode documents for a change of a node


def doubts(certificate: Certificate) -> tuple[str, ...]:
    return (*_of_the_count(certificate), *_of_the_end(certificate), *_always(certificate))


def _of_the_count(it: Certificate) -> Iterator[str]:
    requests = it.requests
    if not requests.sent:
        yield "No request was sent, so nothing is shown about failures."
    if requests.unknown:
        yield (
            f"{requests.unknown:,} of {requests.sent:,} requests were lost by the deployer's own machine or network: "
            "what would have become of them is unknown, and they are in no rate."
        )
    if it.unproven:
        yield (
            f"Who gave {it.unproven:,} of {requests.ok:,} good answers: they named no release "
            "(verify.contains, or the header X-Celadon-Release, would tell)."
        )
    for span in it.unwatched:
        yield f"What happened from {_clock(span.start)} to {_clock(span.end)}: no driver ran, and nobody counted."
    if it.first:
        yield "Anything before the first good answer: this was the first release, and nothing served before it."
    if requests.ok and not it.speed:
        yield "How long answers took: this journal does not hold it."


def _of_the_end(it: Certificate) -> Iterator[str]:
    if it.result is None:
        yield "How it ends: this rollout is still open."
    if it.moved and it.switch_lag is None and it.stable is not None:
        yield (
            "How long the balancer went on using the old release: its answers could not be told apart, "
            "or the driver that switched did not live to measure it."
        )
    if uncounted := sorted(slot for slot, count in it.cut.items() if count is None):
        yield f"How many connections were cut on {', '.join(uncounted)}: they could not be counted."
    if it.settle < LINODE_SETTLE:
        yield (
            f"That Linode's documented 60 s were waited for: this rollout waited {it.settle:g} s after each change, "
            "as is right for a lab."
        )
    if not it.tests:
        yield "That the release does what it should: no test was run against it before it got users."


def _always(it: Certificate) -> Iterator[str]:
    yield (
        f"Anything about other requests: {it.rate:g} a second were sent to {it.url} from one place, each on a "
        "connection of its own. Other paths, long requests, open WebSockets and users elsewhere are not in the figures."
    )
    yield (
        "That nobody changed the journal before this was written: the signature, where there is one, shows who wrote "
        "this file and that it is unchanged since; the figures are the journal's."
    )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
