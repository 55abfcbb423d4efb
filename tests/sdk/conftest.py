"""The Python functions against the fake OpenAI, found as OpenAI's own package finds its server."""

from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import Iterator

import pytest

from tests.fakes.upstream import KEY, Upstream


@pytest.fixture
def openai(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    """The fake, which stands for OpenAI through the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", upstream.url)
    return upstream


@pytest.fixture(scope="package", autouse=True)
def _quick_collections() -> Iterator[None]:
    """What is there before the tests need not be looked through after each of them."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def nothing_leaks(_quick_collections: None) -> Iterator[None]:
    """No file, socket or loop is left to the garbage collector, and no thread is left behind."""
    threads = set(threading.enumerate())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    leaks = [str(warning.message) for warning in caught if issubclass(warning.category, ResourceWarning)]
    assert not leaks, leaks
    left = [thread for thread in set(threading.enumerate()) - threads if thread.name.startswith("proxy-")]
    assert not left, left


@pytest.fixture(autouse=True)
def no_vendor_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may reach a real vendor."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
