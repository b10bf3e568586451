"""The users' door, asked for one rollout at a time: what the driver's port `Verifier` is in a real drive."""

from celadon.adapters.verifier import PublicVerifier, Target
from celadon.core.attribution import Attribution, Known
from celadon.core.evidence import Evidence, Tally
from celadon.core.intent import Rollout
from celadon.ports import Clock


class Door:
    """Implements `ports.Verifier`. Asks from `begin` to `close`; a second `begin` changes nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._prober: PublicVerifier | None = None
        self._silent = False

    def begin(self, rollout: Rollout) -> None:
        if self._prober is not None:
            return
        releases = [release for release in (rollout.candidate, rollout.stable) if release is not None]
        who = Attribution(tuple(Known.of(release) for release in releases), rollout.verify.contains)
        target = Target(url=rollout.verify.url, rate=rollout.verify.rate)
        # Before a first deploy nothing serves: what fails until the first good answer says nothing about it.
        self._silent = rollout.stable_colour is None
        self._prober = PublicVerifier(target, who, rollout.candidate.id, self._clock)
        self._prober.start()

    def take(self) -> Tally:
        if self._prober is None:
            return Tally()
        counts = self._prober.take()
        if not self._silent:
            return counts
        self._silent = not counts.passes
        return Tally(passes=counts.passes, since=counts.since, last=counts.last)

    def evidence(self) -> Evidence:
        return self._prober.evidence() if self._prober is not None else Evidence()

    async def close(self) -> None:
        if self._prober is not None:
            await self._prober.close()
