"""A few inputs for each target, the same ones every time; `python -m tests.fuzz` searches on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import BATCH, search
from tests.fuzz.connections import run
from tests.fuzz.targets import TARGETS, Target, close_pool


@pytest.fixture(scope="module", autouse=True)
def _decoder_ends() -> Iterator[None]:
    yield
    run(close_pool())


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_nothing_is_found_in(target: Target) -> None:
    @settings(max_examples=20, database=None, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(target.inputs)
    def batch(data: Any) -> None:
        target.check(data)

    batch()


def test_the_search_counts_its_inputs_and_raises_what_it_finds() -> None:
    def check(data: bytes) -> None:
        if b"\0" in data:
            raise KeyError(data)

    assert search(Target("sound", st.just(b""), check), 1)[0] == 1
    assert search(Target("sound", st.integers(), lambda _: None), 1)[0] == BATCH
    with pytest.raises(KeyError):
        search(Target("broken", st.binary(), check), 1)
