"""A class of the operator's, named in the configuration and nowhere else: ``async def send(self, records)``.

It gets the rows of a batch. What it raises is a failure that may pass: the batch comes again.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from proxy.config import Sink as Settings
from proxy.sinks.base import Record, Undelivered

SECONDS = 30.0


class CustomSink:
    def __init__(self, settings: Settings, folder: Path) -> None:
        self._own = loaded(settings, folder)(**settings.params)

    async def send(self, records: Sequence[Record]) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                await self._own.send([dict(record.row) for record in records])
        except Exception as error:
            # The message may hold anything.
            raise Undelivered(type(error).__name__) from None

    async def aclose(self) -> None:
        if hasattr(self._own, "aclose"):
            await self._own.aclose()


def loaded(settings: Settings, folder: Path) -> Any:
    """The class: of a module beside the configuration, else of an installed one.

    Raises ValueError, ImportError or whatever the module raises while it is loaded.
    """
    module_name, _, name = settings.name.rpartition(".")
    if not all(part.isidentifier() for part in settings.name.split(".")):
        raise ValueError("must be module.Class")
    found = getattr(_module(module_name, folder), name, None)
    if found is None:
        raise ValueError(f"the module has no {name}")
    if not inspect.isclass(found) or not inspect.iscoroutinefunction(getattr(found, "send", None)):
        raise ValueError(f"{name} is no class with 'async def send(self, records)'")
    return found


def _module(name: str, folder: Path) -> Any:
    file = folder.joinpath(*name.split(".")).with_suffix(".py")
    if not file.is_file():
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file.name} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(name, module)  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def problems(settings: Settings, folder: Path) -> Iterable[str]:
    try:
        # Not made here: this may be the process that starts others, or `audio-proxy check`.
        inspect.signature(loaded(settings, folder)).bind(**settings.params)
    except Exception as error:
        yield f"{type(error).__name__}: {error}"
