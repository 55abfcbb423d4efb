"""The operator's class, with ``async def send(self, records)``.

It receives the rows of a batch. If it raises an exception, the batch is sent again.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import Field

from proxy.config import Config
from proxy.config.fields import FrozenMapping, Text, empty_mapping
from proxy.custom_class import load_class
from proxy.http.transport import Transport
from proxy.sinks.base import Record, Sink, Undelivered
from proxy.sinks.settings import SinkSettings

SECONDS = 30.0


class CustomSettings(SinkSettings):
    """The name is the path of the class: ``module.Class``."""

    kind: Literal["custom"] = "custom"
    params: FrozenMapping[Text, Any] = Field(default_factory=empty_mapping, description="Arguments of the class.")

    def build(self, config: Config, transport: Transport) -> CustomSink:
        return CustomSink(self._class(config)(**self.params))

    def problems(self, config: Config) -> Iterable[str]:
        try:
            # Not instantiated: this may be the supervisor or `audio-proxy check`, which deliver no records.
            inspect.signature(self._class(config)).bind(**self.params)
        except Exception as error:
            yield f"{type(error).__name__}: {error}"

    def _class(self, config: Config) -> type[Any]:
        return load_class(self.name, config.folder, "send(self, records)")


class CustomSink(Sink):
    def __init__(self, sink: Any) -> None:
        self._sink = sink

    async def send(self, records: Sequence[Record]) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                await self._sink.send([dict(record.row) for record in records])
        except Exception as error:
            # The message may contain anything.
            raise Undelivered(type(error).__name__) from None

    async def aclose(self) -> None:
        if hasattr(self._sink, "aclose"):
            await self._sink.aclose()
