"""Keeps the account in one file: written whole, beside the old one, and renamed over it."""

import asyncio
import os
from pathlib import Path

import msgspec

from celadon.core.errors import Refused
from celadon.lab.world.account import State

FORMAT = 1


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file holds."""

    format: int
    state: State


class StateFile:
    """`file` None: nothing is kept."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._writing = asyncio.Lock()
        self._written: State | None = None
        self._latest: State | None = None
        self.writes = 0

    def load(self) -> State | None:
        """None when there is no file yet. Raises Refused for one that this lab cannot read."""
        if self._file is None or not self._file.exists():
            return None
        try:
            kept = msgspec.json.decode(self._file.read_bytes(), type=Kept)
        except msgspec.MsgspecError as error:
            hint = "remove it to begin with an empty account"
            raise Refused(f"{self._file} is not a lab's state: {error}", hint=hint) from error
        if kept.format != FORMAT:
            raise Refused(f"{self._file} has format {kept.format}, this lab reads {FORMAT}", hint="remove the file")
        self._written = kept.state
        return kept.state

    async def save(self, state: State) -> None:
        """Returns when `state`, or a later one, is on the disk: whoever waits is served by the next write.

        States must come in their order. Written off the loop, because fsync takes what it takes.
        """
        if self._file is None:
            return
        self._latest = state
        async with self._writing:
            latest = self._latest
            if latest is not self._written:
                await asyncio.to_thread(_replace, self._file, msgspec.json.encode(Kept(FORMAT, latest)))
                self._written = latest
                self.writes += 1


def _replace(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.new")
    new.touch(mode=0o600)  # user data may hold keys
    with new.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    new.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
