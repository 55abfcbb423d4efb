"""``guardrail: custom``: the operator's class decides."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from proxy.config import Config
from proxy.config.fields import FrozenMapping, Text, empty_mapping
from proxy.custom_class import load_class
from proxy.guardrails.base import Context, Guard, Undecided, Verdict
from proxy.guardrails.settings import GuardrailSettings
from proxy.http.transport import Transport


class CustomSettings(GuardrailSettings):
    redacts: ClassVar[bool] = True

    guardrail: Literal["custom"] = "custom"
    class_path: Text = Field(validation_alias="class", description="module.Class of the guardrail.")
    params: FrozenMapping[Text, Any] = Field(default_factory=empty_mapping, description="Arguments of the class.")

    def build(self, config: Config, transport: Transport) -> CustomGuardrail:
        return CustomGuardrail(self.instance(config))

    def problems(self, config: Config) -> Iterable[str]:
        try:
            self.instance(config)
        except Exception as error:
            yield f"'class' {self.class_path}: {type(error).__name__}: {error}"

    def instance(self, config: Config) -> Any:
        """Raises whatever the module or the class raises."""
        return load_class(self.class_path, config.folder, "check(self, text, context)")(**self.params)


class CustomGuardrail(Guard):
    """Protects calls from the operator's code: whatever it raises becomes Undecided."""

    is_local = False

    def __init__(self, guard: Any) -> None:
        self._guard = guard

    async def check(self, text: str, context: Context) -> Verdict:
        try:
            verdict = await self._guard.check(text, context)
        except Undecided:
            raise
        except Exception as error:
            # The message may contain the text; the location does not.
            raise Undecided(f"{type(error).__name__}{_location(error)}") from None
        if not isinstance(verdict, Verdict):
            raise Undecided(f"check returned {type(verdict).__name__}, not a Verdict")
        return verdict

    async def aclose(self) -> None:
        if hasattr(self._guard, "aclose"):
            await self._guard.aclose()


def _location(error: Exception) -> str:
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return f" in line {last.tb_lineno} of {Path(last.tb_frame.f_code.co_filename).name}" if last is not None else ""
