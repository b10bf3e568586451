"""Who served an answer: the release that its text or a header names, or nobody for certain.

Wrong attribution is worse than none: a failure wrongly put on the candidate brings a good release back. So a text
must stand alone (`v1.1` is not in `v1.1.0`, `main` not in `domain`), and two releases in one answer are none.
"""

import re
from collections.abc import Iterable, Mapping

import msgspec

from celadon.core.release import Release, ReleaseId

HEADERS = ("X-Celadon-Release", "X-Release")
"""Response headers that may hold a release's id or version. Examples send the second."""


class Known(msgspec.Struct, frozen=True):
    """A release that may answer."""

    id: ReleaseId
    version: str

    @classmethod
    def of(cls, release: Release) -> "Known":
        return cls(release.id, release.version)


class Attribution(msgspec.Struct, frozen=True):
    """How to tell the releases of one rollout apart. `contains` is config `verify.contains`; empty: headers only."""

    known: tuple[Known, ...]
    contains: str = ""

    def who(self, text: str, headers: Mapping[str, str]) -> ReleaseId | None:
        """The text first, as the operator chose it; then the headers. `headers` compares names without case."""
        return self._by_text(text) or self._by_header(headers)

    def _by_text(self, text: str) -> ReleaseId | None:
        if "{version}" not in self.contains and "{release}" not in self.contains:
            return None  # the same for every release: it says nothing
        return _only(known.id for known in self.known if _stands_alone(_expanded(self.contains, known), text))

    def _by_header(self, headers: Mapping[str, str]) -> ReleaseId | None:
        for name in HEADERS:
            value = headers.get(name, "").strip()
            if value:
                by_id = _only(known.id for known in self.known if known.id == value)
                return by_id or _only(known.id for known in self.known if known.version == value)
        return None


def _expanded(template: str, known: Known) -> str:
    return template.replace("{version}", known.version).replace("{release}", known.id)


def _only(ids: Iterable[ReleaseId]) -> ReleaseId | None:
    """The one id, or None: nobody, or more than one."""
    match tuple(dict.fromkeys(ids)):
        case (single,):
            return single
        case _:
            return None


def _stands_alone(wanted: str, text: str) -> bool:
    """Whether `wanted` is in `text` and is not a part of a longer word or version there."""
    if not wanted or wanted not in text:  # by far the cheaper test, and it fails for the other release
        return False
    before = r"(?<!\d)(?<!\d\.)" if wanted[0].isdigit() else r"(?<!\w)" if wanted[0].isalnum() else ""
    after = r"(?!\w)(?![.+-]\w)" if wanted[-1].isalnum() else ""
    return re.search(before + re.escape(wanted) + after, text) is not None
