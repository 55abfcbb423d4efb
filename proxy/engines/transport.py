"""The local engines as a transport, mounted at ``local://``: an HTTP server without a network.

``POST local://espeak-ng/speech``: JSON ``input``, ``voice``, ``speed`` → ``audio/pcm;rate=22050;channels=1``, s16le, as
it is made.
``GET local://espeak-ng/voices`` → ``{"voices": [{"id", "name", "language", "gender"}]}``.
``POST local://pocketsphinx/transcription?language=en&stream=true``: the bytes of an audio file → JSON ``text``,
``duration``, ``language``, ``words``, ``segments``; with ``stream`` one JSON document a line, ``segment`` … ``done``.
``prompt`` has no effect. An `Upload` under ``upload`` in the request's extensions takes precedence over the body.
Errors are OpenAI's documents, and the ProxyError itself is the ``error`` in the response's extensions. After the first
byte a failure is a `RemoteProtocolError`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import IO, Any, Final, Protocol, TypeVar
from urllib.parse import parse_qsl

from proxy.audio.pool import WorkerPool
from proxy.audio.source import Source
from proxy.engines.espeak import Espeak
from proxy.engines.sphinx import Sphinx, check_language
from proxy.engines.started import StartedStream
from proxy.errors import BadRequest, NotFound, Overloaded, ProxyError
from proxy.http.errors import ReadTimeout, RemoteProtocolError
from proxy.http.messages import NO_EXTENSIONS, ByteStream, Headers, Request, Response

T = TypeVar("T")

_IN_MEMORY: Final = 1 << 20


class Upload(Protocol):
    """A complete upload. It belongs to the caller and does not change until the response has been closed."""

    def fileno(self) -> int | None:
        """The descriptor of a file that holds all of it; None if it is in memory."""
        ...

    def getbuffer(self) -> bytes | bytearray | memoryview:
        """All of it, if `fileno` is None."""
        ...


class LocalTransport:
    """Serves the engines. Their processes start on first use, and `aclose` ends them; it does not close ``audio``.

    The ``read`` timeout of a request applies to the first byte and to each later chunk.
    """

    def __init__(self, audio: WorkerPool, *, espeak: Espeak | None = None, sphinx: Sphinx | None = None) -> None:
        self.espeak = espeak or Espeak()
        self.sphinx = sphinx or Sphinx(audio)
        self._routes: dict[tuple[str, str, str], Callable[[Request], Awaitable[Response]]] = {
            ("POST", "espeak-ng", "/speech"): self._speech,
            ("GET", "espeak-ng", "/voices"): self._voices,
            ("POST", "pocketsphinx", "/transcription"): self._transcription,
        }

    async def send(self, request: Request) -> Response:
        """The response, when its first byte is available. Raises ReadTimeout if that takes too long."""
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

    async def _speech(self, request: Request) -> Response:
        fields = _object(request.body)
        text, voice, speed = fields.get("input"), fields.get("voice") or "alloy", fields.get("speed")
        speed = 1.0 if speed is None else speed
        if not isinstance(text, str):
            raise BadRequest("'input' must be a string.", param="input")
        if not isinstance(voice, str):
            raise BadRequest("'voice' must be a string.", param="voice")
        if isinstance(speed, bool) or not isinstance(speed, int | float):
            raise BadRequest("'speed' must be a number.", param="speed")
        rate, pcm = await self.espeak.speak(text, voice=voice, speed=speed)
        return Response(200, _type(f"audio/pcm;rate={rate};channels=1"), _Stream(request, pcm))

    async def _voices(self, request: Request) -> Response:
        return _json({"voices": await self.espeak.voices()})

    async def _transcription(self, request: Request) -> Response:
        parameters = dict(parse_qsl(request.url.query))
        check_language(parameters.get("language", ""))
        documents = self._segments(request)
        if parameters.get("stream", "false").lower() not in ("true", "1"):
            async with contextlib.aclosing(documents):
                return _json(_transcript([document async for document in documents]))
        lines = await StartedStream.of(_lines(documents))
        return Response(200, _type("application/x-ndjson"), _Stream(request, lines))

    async def _segments(self, request: Request) -> AsyncGenerator[dict[str, Any]]:
        async with _upload(request) as file, contextlib.aclosing(self.sphinx.segments(file)) as segments:
            async for segment in segments:
                yield segment


class _Stream(ByteStream):
    """The body of a response. Closing it, read or not, ends the work of the engine."""

    def __init__(self, request: Request, chunks: StartedStream[bytes]) -> None:
        self._request = request
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            try:
                chunk = await _in_time(self._request, anext(self._chunks))
            except StopAsyncIteration:
                return
            except ProxyError as error:
                raise RemoteProtocolError(error.detail or error.message) from error
            yield chunk

    async def aclose(self) -> None:
        await self._chunks.aclose()


async def _in_time(request: Request, step: Awaitable[T]) -> T:
    seconds = request.timeouts.get("read")
    try:
        async with asyncio.timeout(seconds):
            return await step
    except TimeoutError as error:
        raise ReadTimeout(f"nothing arrived for {seconds} seconds") from error


async def _lines(documents: AsyncGenerator[dict[str, Any]]) -> AsyncGenerator[bytes]:
    async with contextlib.aclosing(documents):
        async for document in documents:
            yield json.dumps(document).encode() + b"\n"


@contextlib.asynccontextmanager
async def _upload(request: Request) -> AsyncIterator[Source]:
    """The caller's own upload, or else the body of the request: in memory, or beyond a megabyte in an unlinked file."""
    upload: Upload | None = request.extensions.get("upload")
    if upload is not None:
        descriptor = upload.fileno()
        yield upload.getbuffer() if descriptor is None else descriptor
        return
    if isinstance(request.body, bytes):
        yield request.body
        return
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
        try:
            await _spool(request.body, file)
        except OSError as error:
            raise Overloaded(
                "The server cannot store the upload right now.", retry_after=5, detail=str(error)
            ) from error
        if file.tell() > _IN_MEMORY:
            yield file.fileno()
        else:
            file.seek(0)
            yield file.read()


async def _spool(body: ByteStream, file: IO[bytes]) -> None:
    async for chunk in body:
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


def _object(body: bytes | ByteStream) -> dict[str, Any]:
    if not isinstance(body, bytes):
        raise BadRequest("The body must be bytes.")
    try:
        document = json.loads(body)
    except ValueError as error:
        raise BadRequest("The body is not JSON.") from error
    if not isinstance(document, dict):
        raise BadRequest("The body must be a JSON object.")
    return document


def _refusal(error: ProxyError) -> Response:
    headers = {} if error.retry_after is None else {"retry-after": f"{error.retry_after:g}"}
    return _json(error.body(), status=error.status, headers=headers, extensions={"error": error})


def _json(
    document: Any,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    extensions: Mapping[str, Any] = NO_EXTENSIONS,
) -> Response:
    fields = Headers.of({"content-type": "application/json", **(headers or {})})
    return Response(status, fields, json.dumps(document).encode(), extensions=extensions)


def _type(content_type: str) -> Headers:
    return Headers.of({"content-type": content_type})
