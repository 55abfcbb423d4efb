"""The local engines as a transport: an HTTP server without a network, mounted at ``local://``.

``POST local://espeak-ng/speech``: JSON ``input``, ``voice``, ``speed`` → ``audio/pcm;rate=22050;channels=1``, s16le, as
it is made.
``GET local://espeak-ng/voices`` → ``{"voices": [{"id", "name", "language", "gender"}]}``.
``POST local://pocketsphinx/transcription?language=en&stream=true``: the bytes of an audio file → JSON ``text``,
``duration``, ``language``, ``words``, ``segments``; with ``stream`` one JSON document a line, ``segment`` … ``done``.
``prompt`` has no effect. An `Upload` under ``upload`` in the request's extensions goes before the body.
Errors are OpenAI's documents, and the ProxyError itself is the ``error`` in the response's extensions. After the first
byte a failure is an `httpx.RemoteProtocolError`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import IO, Any, Final, Protocol, TypeVar

import httpx

from proxy.audio.pool import WorkerPool
from proxy.audio.source import Source
from proxy.engines.espeak import Espeak
from proxy.engines.sphinx import Sphinx, check_language
from proxy.engines.started import StartedStream
from proxy.errors import BadRequest, NotFound, Overloaded, ProxyError

T = TypeVar("T")

_IN_MEMORY: Final = 1 << 20


class Upload(Protocol):
    """An upload that has arrived; it belongs to the caller, and stays as it is until the answer has been closed."""

    def fileno(self) -> int | None:
        """Of the file that holds all of it; None where memory does."""
        ...

    def getbuffer(self) -> bytes | bytearray | memoryview:
        """All of it, where `fileno` is None."""
        ...


class LocalTransport(httpx.AsyncBaseTransport):
    """Mounts the engines. Starts nothing until it is asked; `aclose` ends every process. `audio` stays its owner's.

    The ``read`` timeout of a request holds for the wait for the first byte and for each later one.
    """

    def __init__(self, audio: WorkerPool, *, espeak: Espeak | None = None, sphinx: Sphinx | None = None) -> None:
        self.espeak = espeak or Espeak()
        self.sphinx = sphinx or Sphinx(audio)
        self._routes: dict[tuple[str, str, str], Callable[[httpx.Request], Awaitable[httpx.Response]]] = {
            ("POST", "espeak-ng", "/speech"): self._speech,
            ("GET", "espeak-ng", "/voices"): self._voices,
            ("POST", "pocketsphinx", "/transcription"): self._transcription,
        }

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer, with its first byte at hand; httpx.ReadTimeout when that does not come in time."""
        try:
            route = self._routes.get((request.method, request.url.host, request.url.path))
            if route is None:
                raise NotFound(f"There is no local engine at {request.method} {request.url}.")
            return await _in_time(request, route(request))
        except ProxyError as error:
            return _refusal(error)

    async def aclose(self) -> None:
        await self.espeak.aclose()
        await self.sphinx.aclose()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()

    async def _speech(self, request: httpx.Request) -> httpx.Response:
        asked = _object(await request.aread())
        text, voice, speed = asked.get("input"), asked.get("voice") or "alloy", asked.get("speed")
        speed = 1.0 if speed is None else speed
        if not isinstance(text, str):
            raise BadRequest("'input' must be a string.", param="input")
        if not isinstance(voice, str):
            raise BadRequest("'voice' must be a string.", param="voice")
        if isinstance(speed, bool) or not isinstance(speed, int | float):
            raise BadRequest("'speed' must be a number.", param="speed")
        rate, pcm = await self.espeak.speak(text, voice=voice, speed=speed)
        return httpx.Response(200, headers=_type(f"audio/pcm;rate={rate};channels=1"), stream=_Stream(request, pcm))

    async def _voices(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"voices": await self.espeak.voices()})

    async def _transcription(self, request: httpx.Request) -> httpx.Response:
        asked = request.url.params
        check_language(asked.get("language", ""))
        documents = self._recognised(request)
        if asked.get("stream", "false").lower() not in ("true", "1"):
            async with contextlib.aclosing(documents):
                return httpx.Response(200, json=_transcript([document async for document in documents]))
        lines = await StartedStream.of(_lines(documents))
        return httpx.Response(200, headers=_type("application/x-ndjson"), stream=_Stream(request, lines))

    async def _recognised(self, request: httpx.Request) -> AsyncGenerator[dict[str, Any]]:
        async with _upload(request) as file, contextlib.aclosing(self.sphinx.segments(file)) as segments:
            async for segment in segments:
                yield segment


class _Stream(httpx.AsyncByteStream):
    """The body of an answer. Closing it, read or not, ends the work behind it."""

    def __init__(self, request: httpx.Request, chunks: StartedStream[bytes]) -> None:
        self._request = request
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            try:
                chunk = await _in_time(self._request, anext(self._chunks))
            except StopAsyncIteration:
                return
            except ProxyError as error:
                raise httpx.RemoteProtocolError(error.detail or error.message, request=self._request) from error
            yield chunk

    async def aclose(self) -> None:
        await self._chunks.aclose()


async def _in_time(request: httpx.Request, step: Awaitable[T]) -> T:
    seconds = request.extensions.get("timeout", {}).get("read")
    try:
        async with asyncio.timeout(seconds):
            return await step
    except TimeoutError as error:
        raise httpx.ReadTimeout(f"nothing came for {seconds} seconds", request=request) from error


async def _lines(documents: AsyncGenerator[dict[str, Any]]) -> AsyncGenerator[bytes]:
    async with contextlib.aclosing(documents):
        async for document in documents:
            yield json.dumps(document).encode() + b"\n"


@contextlib.asynccontextmanager
async def _upload(request: httpx.Request) -> AsyncIterator[Source]:
    """What the caller has at hand already, else the request's body, beyond a megabyte in an unlinked file."""
    at_hand: Upload | None = request.extensions.get("upload")
    if at_hand is not None:
        descriptor = at_hand.fileno()
        yield at_hand.getbuffer() if descriptor is None else descriptor
        return
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
        try:
            await _spool(request, file)
        except OSError as error:
            raise Overloaded(
                "The server cannot store the upload right now.", retry_after=5, detail=str(error)
            ) from error
        if file.tell() > _IN_MEMORY:
            yield file.fileno()
        else:
            file.seek(0)
            yield file.read()


async def _spool(request: httpx.Request, file: IO[bytes]) -> None:
    if not isinstance(request.stream, httpx.AsyncByteStream):
        raise BadRequest("The body must be an asynchronous stream.", param="file")
    async for chunk in request.stream:
        await asyncio.to_thread(file.write, chunk) if file.tell() + len(chunk) > _IN_MEMORY else file.write(chunk)
    file.flush()


def _transcript(documents: list[dict[str, Any]]) -> dict[str, Any]:
    *segments, done = documents
    return {
        "text": " ".join(segment["text"] for segment in segments),
        "language": "english",
        "duration": done["duration"],
        "words": [word for segment in segments for word in segment["words"]],
        "segments": [{key: segment[key] for key in ("id", "start", "end", "text")} for segment in segments],
    }


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError as error:
        raise BadRequest("The body is not JSON.") from error
    if not isinstance(document, dict):
        raise BadRequest("The body must be a JSON object.")
    return document


def _refusal(error: ProxyError) -> httpx.Response:
    headers = {} if error.retry_after is None else {"retry-after": f"{error.retry_after:g}"}
    return httpx.Response(error.status, headers=headers, json=error.body(), extensions={"error": error})


def _type(content_type: str) -> dict[str, str]:
    return {"content-type": content_type}
