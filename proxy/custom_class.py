"""Loads the classes of custom guardrails and sinks that the configuration names."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def load_class(path: str, folder: Path, method: str) -> type[Any]:
    """The class ``module.Class`` of a module in the folder, or of an installed module.

    It must have the coroutine ``method``, given with its parameters: ``send(self, records)``.
    Raises ValueError, ImportError, or whatever the module raises when it is imported.
    """
    module_name, _, name = path.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in path.split(".")):
        raise ValueError("must be module.Class")
    loaded = getattr(_module(module_name, folder), name, None)
    if loaded is None:
        raise ValueError(f"the module has no {name}")
    method_name, _, _ = method.partition("(")
    if not inspect.isclass(loaded) or not inspect.iscoroutinefunction(getattr(loaded, method_name, None)):
        raise ValueError(f"{name} must be a class with 'async def {method}'")
    return loaded


def _module(name: str, folder: Path) -> ModuleType:
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
