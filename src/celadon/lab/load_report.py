"""What a load saw, as values: per kind of request, per act, and in all. Encoded as they stand, they are the JSON."""

import msgspec

from celadon.core.bound import upper_bound
from celadon.core.evidence import Latency
from celadon.core.release import Seconds

KEPT = 20  # failures told one by one


class Failure(msgspec.Struct, frozen=True):
    """One request that was not answered as it should be. `at`: seconds since the load began, when it was due."""

    at: Seconds
    kind: str
    reason: str
    act: str = ""
    who: str | None = None


class Counts(msgspec.Struct, frozen=True):
    """`sent == ok + failed + cut + waiting`. `cut`: streams that began well and ended early."""

    sent: int = 0
    ok: int = 0
    failed: int = 0
    cut: int = 0

    @property
    def waiting(self) -> int:
        return self.sent - self.ok - self.failed - self.cut

    def plus(self, other: "Counts") -> "Counts":
        return Counts(self.sent + other.sent, self.ok + other.ok, self.failed + other.failed, self.cut + other.cut)


class ActReport(msgspec.Struct, frozen=True):
    """Requests that were due in one stretch of time, by kind. `latency` is from due to answered, without streams."""

    name: str
    began: Seconds  # since the load began
    kinds: dict[str, Counts]
    served: dict[str, int]  # good answers, by what the application called itself; "" where it did not say
    latency: Latency
    p50: Seconds | None
    p99: Seconds | None

    @property
    def total(self) -> Counts:
        total = Counts()
        for counts in self.kinds.values():
            total = total.plus(counts)
        return total


class Report(msgspec.Struct, frozen=True):
    """One look at a load, running or done."""

    seconds: Seconds  # since it began
    running: bool
    acts: tuple[ActReport, ...]
    failures: tuple[Failure, ...]  # the first 20, in the order in which they ended
    longest_gap: Seconds  # between two good answers that follow each other, by when they were due
    latest: Seconds  # by how much the load itself sent a request too late: large means a busy machine

    def kind(self, name: str) -> Counts:
        total = Counts()
        for act in self.acts:
            total = total.plus(act.kinds.get(name, Counts()))
        return total

    @property
    def total(self) -> Counts:
        total = Counts()
        for act in self.acts:
            total = total.plus(act.total)
        return total

    @property
    def failure_bound(self) -> float:
        """95 % sure: the share of requests that fail or are cut is below this."""
        total = self.total
        return upper_bound(total.failed + total.cut, total.sent - total.waiting)
