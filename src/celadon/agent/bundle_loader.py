"""The head of the bundle that is sent to a host: makes the agent's modules importable there without any file."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from typing import Any

PACKAGES = ("celadon", "celadon.agent")


class Bundle(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    def __init__(self, sources: dict[str, str]) -> None:
        self._sources = sources

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        del path, target
        return importlib.util.spec_from_loader(fullname, self) if fullname in self._sources else None

    def is_package(self, fullname: str) -> bool:
        return fullname in PACKAGES

    def get_source(self, fullname: str) -> str:
        return self._sources[fullname]

    def get_code(self, fullname: str) -> types.CodeType | None:
        # The name is what a failure reports as its place.
        return compile(self._sources[fullname], fullname.rpartition(".")[2] + ".py", "exec")


def start(sources: dict[str, str]) -> None:
    sys.meta_path.insert(0, Bundle(sources))
    from celadon.agent.main import main  # noqa: PLC0415 - there was nothing to import it from before

    main()
