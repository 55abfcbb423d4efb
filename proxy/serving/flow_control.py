"""Back-pressure on one connection, in both directions."""

from __future__ import annotations

import asyncio


class FlowControl:
    """Stops reading while the application lags behind the client, and writing while the client lags behind."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._reading_paused = False
        self.writing_paused = False
        self._writable = asyncio.Event()

    def pause_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        self.writing_paused = True
        self._writable.clear()

    def resume_writing(self) -> None:
        self.writing_paused = False
        self._writable.set()

    async def wait_writable(self) -> None:
        """Wait until writing is no longer paused."""
        await self._writable.wait()
