"""Searches texts without holding up other calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Final

from proxy.guardrails.base import Span

#: Texts up to this length are searched at once, in the event loop.
SHORT: Final = 500
#: The characters of a piece of a longer text.
PIECE: Final = 2_000

Find = Callable[[str], list[Span]]


class Scanner:
    """Applies functions to texts. Long texts are searched in a thread, and texts of several calls take turns."""

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, "guardrail")

    async def in_whole(self, text: str, find: Find) -> list[Span]:
        """For functions that depend on where a text begins and ends."""
        return await self._run(text, find, is_short=len(text) <= SHORT)

    async def in_pieces(self, text: str, find: Find, overlap: int) -> list[Span]:
        """A check that is cancelled, because it took too long or because the client has left, ends with its piece.

        ``overlap``: characters that two pieces share. One piece contains all of a finding that is not longer.
        """
        if len(text) <= SHORT:
            return find(text)
        spans: list[Span] = []
        for start in range(0, len(text), PIECE):
            found = await self._run(text[start : start + PIECE + overlap], find, is_short=False)
            spans += [Span(start + first, start + last, put) for first, last, put in found]
        return spans

    async def _run(self, text: str, find: Find, *, is_short: bool) -> list[Span]:
        if is_short:
            return find(text)
        return await asyncio.get_running_loop().run_in_executor(self._thread, find, text)

    def close(self) -> None:
        if "_thread" in self.__dict__:
            self._thread.shutdown(wait=False, cancel_futures=True)
