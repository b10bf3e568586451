"""Every state that can be reached, breadth first, so that what is found broken is found by the shortest way."""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

State = TypeVar("State")


class Broken(AssertionError):
    """A promise that does not hold in some state, with the steps that lead there."""


@dataclass
class Explored:
    states: int
    transitions: int
    ends: dict[str, int]
    stuck: int  # states from which no end can be reached


def search(
    first: State,
    *,
    steps: Callable[[State], Iterator[tuple[str, State]]],
    check: Callable[[State], None],
    key: Callable[[State], bytes],
    end: Callable[[State], str | None],
) -> Explored:
    """`check` raises Broken; states of one `key` have one future; `end` names how it ended, None: not yet."""
    number = {key(first): 0}
    before: list[list[int]] = [[]]
    how: list[tuple[int, str]] = [(-1, "")]
    ends: dict[int, str] = {}
    ahead = deque([(0, first)])
    transitions = 0
    while ahead:
        here, state = ahead.popleft()
        try:
            check(state)
            for what, then in steps(state):
                transitions += 1
                its_key = key(then)
                there = number.get(its_key)
                if there is None:
                    there = number[its_key] = len(before)
                    before.append([])
                    how.append((here, what))
                    ahead.append((there, then))
                before[there].append(here)
        except Broken as error:
            raise Broken(f"{error}\n" + "\n".join(_way(how, here))) from None
        if (result := end(state)) is not None:
            ends[here] = result
    stuck = len(before) - len(_reaching(ends, before))
    return Explored(len(before), transitions, dict(sorted(Counter(ends.values()).items())), stuck)


def _reaching(ends: dict[int, str], before: list[list[int]]) -> set[int]:
    reaches = set(ends)
    todo = list(ends)
    while todo:
        for earlier in before[todo.pop()]:
            if earlier not in reaches:
                reaches.add(earlier)
                todo.append(earlier)
    return reaches


def _way(how: list[tuple[int, str]], here: int) -> list[str]:
    way = []
    while here > 0:
        here, what = how[here]
        way.append(what)
    return way[::-1]
