"""The settings that sinks have in common. Each kind adds its own, in the module of its implementation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated

import httpx
from pydantic import ConfigDict, Field

from proxy.config import Config
from proxy.config.fields import Frozen, Seconds, Text
from proxy.sinks.base import Sink


class SinkSettings(Frozen, ABC):
    """Where records of calls go: a name of `litellm_settings.callbacks`, with its `callback_settings`.

    A kind is a class of these: with its name, and LiteLLM's names that mean the same, as ``kind``, a Literal; with
    further fields, whose aliases are the keys of the file; and with `build`.
    """

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    name: Text
    kind: str
    successes: bool = Field(default=True, description="It gets the calls that went well.")
    failures: bool = Field(default=True, description="It gets the calls that failed.")
    batch_size: Annotated[int, Field(ge=1, le=10_000)] = Field(default=200, description="Most records of a batch.")
    flush_interval: Seconds = Field(default=2, description="Seconds that a record waits for others.")
    queue_size: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=10_000, description="Records that may wait; further ones are dropped, and counted."
    )
    where: str = Field(default="", description="File and line of the name, for messages.")

    @abstractmethod
    def build(self, config: Config, transport: httpx.AsyncBaseTransport) -> Sink:
        """The sink. It sends requests through ``transport`` only."""

    def problems(self, config: Config) -> Iterable[str]:
        """What is wrong with the settings, as far as only the rest of the configuration and the machine can tell."""
        return ()
