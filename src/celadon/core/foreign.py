"""Values read from JSON that another machine wrote: of the type that was expected, or `Senseless`, and nothing else.

A host may be broken or hostile. What its JSON can do to a decoder (a wrong type, a wrong encoding, brackets a hundred
thousand deep, a number of ten thousand digits) is one case here, so that no caller forgets one of them.
"""

from typing import Annotated, Any

import msgspec

Utc = Annotated[float, msgspec.Meta(ge=-62_135_596_800, lt=253_402_300_800)]
"""Seconds since 1970 within the years 1 to 9999: what can be shown as a date."""

Count = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
"""How many. The bound is JSON's own: above it other readers see other numbers, and far above it none can print one."""


class Senseless(ValueError):
    """Not what was expected. Its text never quotes what came."""


def read(raw: bytes | msgspec.Raw, kind: Any) -> Any:
    """The value. Raises `Senseless`."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Senseless("this is not what was expected") from None
