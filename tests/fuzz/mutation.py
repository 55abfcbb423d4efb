"""Inputs for the targets: real ones, damaged in the ways that find bugs, and cut into pieces as a network cuts them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from hypothesis import strategies as st

#: Where, what is inserted, how often, how many bytes are dropped there.
_Change: TypeAlias = tuple[int, bytes, int, int]
#: Beyond this, an input only makes every run slower.
MAX_BYTES = 300_000


def mutants(seeds: Sequence[bytes], tokens: Sequence[bytes] = (b"\0", b"\xff")) -> st.SearchStrategy[bytes]:
    """Seeds with up to five changes. ``tokens`` mean something in the format."""
    inserted = st.sampled_from([b"", *tokens]) | st.binary(max_size=8)
    times = st.sampled_from([1, 1, 1, 1, 2, 100, 20_000])
    change = st.tuples(st.integers(0, 1 << 16), inserted, times, st.sampled_from([0, 0, 1, 1, 2, 4, 64]))
    changes = st.lists(change, max_size=5)
    seed = st.sampled_from(list(seeds))
    return st.builds(_changed, seed, changes) | st.builds(_spliced, seed, seed, st.integers(0, 1 << 16), changes)


def _changed(data: bytes, changes: Iterable[_Change]) -> bytes:
    for place, inserted, times, dropped in changes:
        at = place % (len(data) + 1)
        data = data[:at] + inserted * times + data[at + dropped :]
    return data[:MAX_BYTES]


def _spliced(head: bytes, tail: bytes, place: int, changes: Iterable[_Change]) -> bytes:
    return _changed(head[: place % (len(head) + 1)] + tail[place % (len(tail) + 1) :], changes)


def cuts() -> st.SearchStrategy[list[int]]:
    """Sizes of pieces, of which the last one repeats."""
    return st.lists(st.sampled_from([1, 2, 3, 7, 64, 1000, 70_000]), min_size=1, max_size=5)


def pieces(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    """At most a few thousand: single bytes only at the beginning of long data."""
    found, start, left = [], 0, list(sizes)
    while start < len(data):
        size = left.pop(0) if len(left) > 1 else left[0]
        if len(found) > 2000:
            size = max(size, 70_000)
        found.append(data[start : start + size])
        start += size
    return found


def documents(names: Sequence[str], words: Sequence[str], *, max_leaves: int = 25) -> st.SearchStrategy[Any]:
    """Any JSON, most of it with the names and words of a format."""
    word = st.sampled_from(list(words)) | st.text(max_size=12)
    number = st.integers(-2, 3) | st.integers() | st.floats() | st.sampled_from([1e308, -1e308, 10**400, 2**63])
    scalar = st.none() | st.booleans() | number | word
    name = st.sampled_from(list(names)) | st.sampled_from(list(names)) | st.text(max_size=5)
    return st.recursive(
        scalar,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(name, inner, max_size=6),
        max_leaves=max_leaves,
    )


def encoded(document: Any) -> bytes:
    """NaN, infinities and halves of surrogate pairs as Python's ``json`` writes them, which servers use."""
    return json.dumps(document).encode()
