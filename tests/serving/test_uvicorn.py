"""What we take from uvicorn: one documented middleware. Its server and protocols have no public hooks to build on."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import proxy


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def test_only_its_middleware_is_used() -> None:
    modules = [name for path in Path(proxy.__file__).parent.rglob("*.py") for name in imported(path)]
    assert {name for name in modules if name.split(".")[0] == "uvicorn"} == {"uvicorn.middleware.proxy_headers"}
