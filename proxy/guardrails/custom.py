"""``guardrail: custom``: a class of the operator's, named in the configuration and nowhere else."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import Any

from proxy.config import Guardrail
from proxy.guardrails.base import Context, Undecided, Verdict


class CustomGuardrail:
    """Guards the call from the class: what is wrong with it is Undecided, whatever it raises."""

    is_local = False

    def __init__(self, settings: Guardrail, folder: Path) -> None:
        self._own = loaded(settings, folder)(**settings.params)

    async def check(self, text: str, context: Context) -> Verdict:
        try:
            verdict = await self._own.check(text, context)
        except Undecided:
            raise
        except Exception as error:
            # The message may hold the text; the place does not.
            raise Undecided(f"{type(error).__name__}{_place(error)}") from None
        if not isinstance(verdict, Verdict):
            raise Undecided(f"check returned {type(verdict).__name__} and no Verdict")
        return verdict

    async def aclose(self) -> None:
        if hasattr(self._own, "aclose"):
            await self._own.aclose()


def loaded(settings: Guardrail, folder: Path) -> Any:
    """The class: of a module beside the configuration, else of an installed one.

    Raises ValueError, ImportError or whatever the module raises while it is loaded.
    """
    path = settings.class_path or ""
    module_name, _, name = path.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in path.split(".")):
        raise ValueError("must be module.Class")
    found = getattr(_module(module_name, folder), name, None)
    if found is None:
        raise ValueError(f"the module has no {name}")
    if not inspect.isclass(found) or not inspect.iscoroutinefunction(getattr(found, "check", None)):
        raise ValueError(f"{name} is no class with 'async def check(self, text, context)'")
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


def problem(settings: Guardrail, folder: Path) -> str | None:
    try:
        loaded(settings, folder)(**settings.params)
    except Exception as error:
        return f"'class' {settings.class_path}: {type(error).__name__}: {error}"
    return None


def _place(error: Exception) -> str:
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return f" in line {last.tb_lineno} of {Path(last.tb_frame.f_code.co_filename).name}" if last is not None else ""
