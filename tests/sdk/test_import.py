"""What an import costs, and what it gives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import proxy

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    "fastapi", "starlette", "uvicorn", "uvloop", "sqlite3", "asyncpg", "psycopg", "redis", "av", "pocketsphinx",
    "espeakng_loader", "prometheus_client", "structlog", "proxy.engines", "proxy.server", "proxy.gateway",
)  # fmt: skip


def run(code: str) -> str:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded(code: str) -> set[str]:
    return set(run(f"import sys; {code}; print('\\n'.join(sys.modules))").split())


def test_the_package_alone_loads_nothing_of_its_own_or_others() -> None:
    modules = loaded("import proxy")
    assert {name for name in modules if name.startswith("proxy")} == {"proxy"}
    assert not modules & {"httpx", "pydantic", "asyncio", *HEAVY}


def test_the_functions_load_neither_server_nor_audio_nor_engines() -> None:
    modules = loaded("from proxy import speech, atranscription")
    assert "proxy.sdk.functions" in modules
    assert sorted(modules & set(HEAVY)) == []


def test_the_functions_cost_little_more_than_the_libraries_that_they_need() -> None:
    """The best of a few runs each, in turn, in processes of their own."""
    timer = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
    programs = ("import httpx; from pydantic import BaseModel", "from proxy import speech")
    rounds = [[float(run(timer.format(program))) for program in programs] for _ in range(4)]
    needed, ours = map(min, zip(*rounds, strict=True))
    assert ours < 3 * needed, (ours, needed)


@pytest.mark.parametrize("name", proxy.__all__)
def test_every_exported_name_is_there(name: str) -> None:
    assert getattr(proxy, name) is not None
    assert name in dir(proxy)


def test_all_is_sorted_and_names_the_six_functions() -> None:
    assert sorted(proxy.__all__) == proxy.__all__
    assert {"speech", "aspeech", "transcription", "atranscription", "translation", "atranslation"} <= set(proxy.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'speach'"):
        _ = proxy.speach


def test_the_error_tree_is_one() -> None:
    assert proxy.errors.ProxyError is proxy.ProxyError
    assert issubclass(proxy.errors.UpstreamRateLimited, proxy.ProxyError)
