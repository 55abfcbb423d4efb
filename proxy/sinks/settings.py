"""The common settings of sinks. Each kind adds its own in the module that implements it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated

from pydantic import ConfigDict, Field

from proxy.config import Config
from proxy.config.fields import Frozen, Seconds, Text
from proxy.http.transport import Transport
from proxy.sinks.base import Sink


class SinkSettings(Frozen, ABC):
    """A name in `litellm_settings.callbacks`, with its `callback_settings`. Aliases are the keys of the file.

    A kind is a subclass with its names (LiteLLM's included) as a Literal in ``kind``, further fields, and `build`.
    """

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    name: Text
    kind: str
    successes: bool = Field(default=True, description="It receives calls that succeeded.")
    failures: bool = Field(default=True, description="It receives calls that failed.")
    batch_size: Annotated[int, Field(ge=1, le=10_000)] = Field(default=200, description="Maximum records in a batch.")
    flush_interval: Seconds = Field(default=2, description="Seconds that a record waits for others to join its batch.")
    queue_size: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=10_000, description="Maximum records in the queue. Further records are dropped and counted."
    )
    where: str = Field(default="", description="File and line, for messages.")

    @abstractmethod
    def build(self, config: Config, transport: Transport) -> Sink:
        """Create the sink. It sends requests through ``transport`` only."""

    def problems(self, config: Config) -> Iterable[str]:
        """Problems that depend on the environment: missing variables, modules or packages."""
        return ()
