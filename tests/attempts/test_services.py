"""The length of an upload is measured beside the call, and perhaps after it."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, cast

from proxy.attempts import AttemptRunner, HealthTracker
from proxy.attempts.services import Services
from proxy.errors import Overloaded
from tests.fakes.samples import wav

INFO = {"channels": 1, "rate": 16_000, "codec": "pcm_s16le", "container": "wav"}


class Readers:
    """Workers that are busy for a while; then they report the size of the file as its duration."""

    def __init__(self) -> None:
        self.is_free = asyncio.Event()

    async def run(self, job: Any, *, fault: Any, source: int) -> AsyncGenerator[bytes]:
        await self.is_free.wait()
        yield json.dumps({"duration": os.fstat(source).st_size, **INFO}).encode()


class Stored:
    """An upload in a temporary file."""

    filename, content_type, container = "a.mp3", "audio/mpeg", "mp3"

    def __init__(self, content: bytes) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._file.write(content)
        self._file.flush()
        self.size = len(content)

    def read_at(self, size: int, offset: int) -> bytes:
        raise AssertionError("the upload is not looked into")

    def fileno(self) -> int:
        return self._file.fileno()

    def getbuffer(self) -> bytes:
        raise AssertionError("the upload is in a file")

    async def chunks(self) -> AsyncIterator[bytes]:
        raise AssertionError("the upload is not sent")
        yield b""

    def close(self) -> None:
        self._file.close()


def test_an_upload_may_be_closed_while_its_measurement_waits_for_a_worker() -> None:
    async def main() -> None:
        readers, upload = Readers(), Stored(wav())
        services = Services(*cast(Any, (None, None, readers)), HealthTracker(), 0, 0.0)
        descriptors = len(os.listdir("/dev/fd"))
        measuring = asyncio.ensure_future(services.seconds_of(upload))
        await asyncio.sleep(0)
        upload.close()
        with Stored(b"another call's upload")._file:
            readers.is_free.set()
            assert await measuring == upload.size
        assert len(os.listdir("/dev/fd")) == descriptors - 1

    asyncio.run(main())


def test_a_limit_of_seconds_is_the_vendors_to_judge_while_no_worker_is_free() -> None:
    class Busy:
        async def run(self, job: Any, *, fault: Any, source: int) -> AsyncGenerator[bytes]:
            raise Overloaded("The server is busy.")
            yield b""

    async def main() -> None:
        upload = Stored(wav())
        runner = AttemptRunner(*cast(Any, (None, None, Busy())))
        assert await runner.seconds_of(upload) is None
        upload.close()

    asyncio.run(main())
