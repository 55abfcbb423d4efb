"""A fake of OpenAI's Realtime API on a loopback port: a WebSocket server in a thread of its own.

It validates every event in both directions against the published schemas. It reads out the text that it gets, and with
a `Script` a test can make it reword, refuse, fall silent, break off or fail.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.audio import sounds
from tests.fakes.upstream import Gate
from tests.providers import spec

RATE = 24_000
REQUEST_ID = "req_realtime_77"
_CLIENT = {
    "session.update": "RealtimeClientEventSessionUpdate",
    "response.create": "RealtimeClientEventResponseCreate",
    "response.cancel": "RealtimeClientEventResponseCancel",
    "input_audio_buffer.append": "RealtimeClientEventInputAudioBufferAppend",
    "input_audio_buffer.commit": "RealtimeClientEventInputAudioBufferCommit",
}
_TRANSCRIPTION = "conversation.item.input_audio_transcription"
_SERVER = {
    "error": "RealtimeServerEventError",
    "session.created": "RealtimeServerEventSessionCreated",
    "session.updated": "RealtimeServerEventSessionUpdated",
    "rate_limits.updated": "RealtimeServerEventRateLimitsUpdated",
    "response.created": "RealtimeServerEventResponseCreated",
    "response.output_audio.delta": "RealtimeServerEventResponseAudioDelta",
    "response.output_audio.done": "RealtimeServerEventResponseAudioDone",
    "response.output_audio_transcript.delta": "RealtimeServerEventResponseAudioTranscriptDelta",
    "response.output_audio_transcript.done": "RealtimeServerEventResponseAudioTranscriptDone",
    "response.done": "RealtimeServerEventResponseDone",
    "input_audio_buffer.committed": "RealtimeServerEventInputAudioBufferCommitted",
    f"{_TRANSCRIPTION}.delta": "RealtimeServerEventConversationItemInputAudioTranscriptionDelta",
    f"{_TRANSCRIPTION}.completed": "RealtimeServerEventConversationItemInputAudioTranscriptionCompleted",
    f"{_TRANSCRIPTION}.failed": "RealtimeServerEventConversationItemInputAudioTranscriptionFailed",
}


def usage(text_in: int = 40, audio_out: int = 60, text_out: int = 10, cached: int = 8) -> dict[str, Any]:
    return {
        "total_tokens": text_in + audio_out + text_out,
        "input_tokens": text_in,
        "output_tokens": audio_out + text_out,
        "input_token_details": {
            "text_tokens": text_in,
            "audio_tokens": 0,
            "cached_tokens": cached,
            "cached_tokens_details": {"text_tokens": cached, "audio_tokens": 0},
        },
        "output_token_details": {"text_tokens": text_out, "audio_tokens": audio_out},
    }


@dataclass(frozen=True)
class Script:
    """How one response, or one turn of a transcription, goes; by default, well."""

    #: The transcript, if it is not the text.
    says: str | None = None
    seconds: float = 1.2
    pieces: int = 6
    #: When the transcript is sent: before, beside or after the audio, or in one event at the end.
    transcript: Literal["first", "beside", "late", "at once"] = "beside"
    status: str = "completed"
    reason: str | None = None
    error: Mapping[str, str] | None = None
    usage: Mapping[str, Any] = field(default_factory=usage)
    #: Holds back pieces of audio.
    gate: Gate | None = None
    #: The number of pieces after which `stop` happens instead of the rest.
    stop_after: int | None = None
    stop: Literal["close", "abort", "hang", "error"] = "close"
    close: tuple[int, str] = (1000, "")
    #: Sent instead of anything else.
    raw: str | bytes | None = None


@dataclass(eq=False)
class Session:
    """One socket, as the server saw it."""

    path: str
    headers: Mapping[str, str]
    #: The events that were received, in order.
    events: list[dict[str, Any]] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    audio: bytearray = field(default_factory=bytearray)
    #: Bytes of audio of each turn.
    turns: list[int] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)
    connection: ServerConnection | None = None
    responses: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]


class Realtime:
    """``url`` is the deployment's ``api_base``. Scripts are used up one by one; the last stays."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._started: Future[int] = Future()
        self._stopping = asyncio.Event()
        self._numbers = count(1)
        self._spec = spec.load("openai.realtime.json")
        self.sessions: list[Session] = []
        self.reset()
        self._thread.start()
        self.port = self._started.result(10)
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def reset(self) -> None:
        """Close every socket, including those that a client keeps for reuse, and restore the defaults."""
        for session in self.sessions:
            self.kill(session)
        self.sessions = []
        self.scripts: list[Script] = [Script()]
        #: Refuses handshakes with status, headers and body; "hang" never answers them.
        self.refusal: tuple[int, Mapping[str, str], str] | Literal["hang"] | None = None
        self.handshakes = 0
        #: Sends nothing after the handshake.
        self.mute = False
        #: Completes the turns in reverse order.
        self.turns_backwards = False
        self.languages: Sequence[str] = ("en",)
        #: The events of either side that do not match the schemas.
        self.violations: list[str] = []
        self._finished: list[tuple[str, str]] = []

    def gate(self) -> Gate:
        return Gate(self._loop)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)

    # -- for tests -----------------------------------------------------------------------------------------------------

    @property
    def requested(self) -> list[dict[str, Any]]:
        """The responses that were requested, over all sockets."""
        return [event["response"] for session in self.sessions for event in session.of("response.create")]

    def wait(self, condition: Callable[[], Any], what: str) -> None:
        limit = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < limit, f"{what} did not happen"
            time.sleep(0.01)

    def kill(self, session: Session) -> None:
        """Drop the connection without a close frame."""

        def abort() -> None:
            if session.connection is not None and session.connection.transport is not None:
                session.connection.transport.abort()

        self._loop.call_soon_threadsafe(abort)
        assert session.closed.wait(5)

    def sound(self, script: Script | None = None) -> bytes:
        return sounds.pcm((script or self.scripts[0]).seconds)

    # -- the server ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        quiet = logging.getLogger("tests.realtime")
        quiet.setLevel(logging.CRITICAL)
        async with serve(
            self._serve_session,
            "127.0.0.1",
            0,
            process_request=self._process_request,
            process_response=self._process_response,
            logger=quiet,
            max_size=16 * 1024 * 1024,
            close_timeout=1,
        ) as server:
            self._started.set_result(next(iter(server.sockets)).getsockname()[1])
            await self._stopping.wait()

    async def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        self.handshakes += 1
        if self.refusal == "hang":
            await asyncio.sleep(30)
        if self.refusal is None:
            return None
        status, headers, body = self.refusal
        stated = Headers({"Content-Type": "application/json", "Content-Length": str(len(body)), **headers})
        return Response(status, HTTPStatus(status).phrase, stated, body.encode())

    async def _process_response(self, connection: ServerConnection, request: Request, response: Response) -> Response:
        response.headers["x-request-id"] = REQUEST_ID
        return response

    async def _serve_session(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        session = Session(connection.request.path, dict(connection.request.headers.raw_items()), connection=connection)
        self.sessions.append(session)
        try:
            with contextlib.suppress(ConnectionClosed):
                await self._run_session(session, connection)
        except Exception as error:
            self.violations.append(f"the fake itself failed: {error!r}")
            raise
        finally:
            for task in session.responses.values():
                task.cancel()
            session.closed.set()

    async def _run_session(self, session: Session, connection: ServerConnection) -> None:
        if self.mute:
            await connection.wait_closed()
        transcribes = session.query.get("intent") == ["transcription"]
        await self._send(
            session, type="session.created", session=_session("transcription" if transcribes else "realtime")
        )
        async for message in connection:
            event = json.loads(message)
            session.events.append(event)
            name = _CLIENT.get(event["type"])
            errors = self._spec.of_schema(name, event) if name else [f"no such event: {event['type']}"]
            self.violations += [f"{event['type']}: {error}" for error in errors]
            await self._receive(session, event)

    async def _receive(self, session: Session, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "session.update":
            await self._send(session, type="session.updated", session=_session(event["session"]["type"]))
        elif kind == "response.create":
            name = f"resp_{next(self._numbers)}"
            session.responses[name] = asyncio.ensure_future(
                self._play(session, name, event["response"], self._script())
            )
        elif kind == "response.cancel":
            await self._cancel(session, event.get("response_id", ""))
        elif kind == "input_audio_buffer.append":
            session.audio += base64.b64decode(event["audio"], validate=True)
        elif kind == "input_audio_buffer.commit":
            await self._commit(session)

    def _script(self) -> Script:
        return self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]

    async def _send(self, session: Session, /, **event: Any) -> None:
        event["event_id"] = f"event_{next(self._numbers)}"
        self.violations += [
            f"sent {event['type']}: {error}" for error in self._spec.of_schema(_SERVER[event["type"]], event)
        ]
        session.sent.append(event["type"])
        assert session.connection is not None
        await session.connection.send(json.dumps(event))

    # -- speech --------------------------------------------------------------------------------------------------------

    async def _play(self, session: Session, name: str, requested: Mapping[str, Any], script: Script) -> None:
        with contextlib.suppress(ConnectionClosed):
            await self._respond(session, name, requested, script)
        session.responses.pop(name, None)

    async def _respond(self, session: Session, name: str, requested: Mapping[str, Any], script: Script) -> None:
        assert session.connection is not None
        if script.raw is not None:
            await session.connection.send(script.raw)
            return
        await self._send(session, type="response.created", response={"id": name, "status": "in_progress"})
        text = marked(requested) if script.says is None else script.says
        words = [text[start : start + 8] for start in range(0, len(text), 8)]
        place = {"response_id": name, "item_id": f"item_{name}", "output_index": 0, "content_index": 0}
        if script.transcript == "first":
            await self._spell(session, place, words)
        audio, share = sounds.pcm(script.seconds), -(-len(words) // script.pieces)
        size = -(-len(audio) // script.pieces // 2) * 2
        for number in range(script.pieces):
            if script.gate is not None:
                await script.gate.pass_chunk(number)
            if number == script.stop_after:
                await self._stop(session, script)
                return
            if script.transcript == "beside":
                await self._spell(session, place, words[number * share : (number + 1) * share])
            piece = base64.b64encode(audio[number * size : (number + 1) * size]).decode()
            await self._send(session, type="response.output_audio.delta", delta=piece, **place)
        if script.transcript == "late":
            await self._spell(session, place, words)
        await self._send(session, type="response.output_audio.done", **place)
        await self._send(session, type="response.output_audio_transcript.done", transcript=text, **place)
        await self._end(session, name, script.status, script)

    async def _spell(self, session: Session, place: Mapping[str, Any], words: Sequence[str]) -> None:
        for word in words:
            await self._send(session, type="response.output_audio_transcript.delta", delta=word, **place)

    async def _stop(self, session: Session, script: Script) -> None:
        connection = session.connection
        assert connection is not None
        if script.stop == "close":
            await connection.close(*script.close)
        elif script.stop == "abort":
            connection.transport.abort()
        elif script.stop == "error":
            error = {
                "type": "server_error",
                "code": None,
                "message": "It broke.",
                "param": None,
                **(script.error or {}),
            }
            await self._send(session, type="error", error=error)
        else:
            await connection.wait_closed()

    async def _end(self, session: Session, name: str, status: str, script: Script) -> None:
        response: dict[str, Any] = {"id": name, "object": "realtime.response", "status": status, "usage": script.usage}
        if status != "completed":
            details = {"type": status, "reason": script.reason, "error": script.error}
            response["status_details"] = {key: value for key, value in details.items() if value is not None}
        await self._send(session, type="response.done", response=response)
        await self._send(session, type="rate_limits.updated", rate_limits=[])

    async def _cancel(self, session: Session, name: str) -> None:
        task = session.responses.pop(name, None)
        if task is None or task.done():
            code = "response_cancel_not_active"
            error = {"type": "invalid_request_error", "code": code, "message": "No such response.", "param": None}
            await self._send(session, type="error", error=error)
            return
        task.cancel()
        await self._end(session, name, "cancelled", Script(reason="client_cancelled", usage=usage(audio_out=5)))

    # -- transcription -------------------------------------------------------------------------------------------------

    async def _commit(self, session: Session) -> None:
        before = sum(session.turns)
        session.turns.append(len(session.audio) - before)
        name, number = f"item_{next(self._numbers)}", len(session.turns)
        await self._send(session, type="input_audio_buffer.committed", item_id=name)
        script = self._script()
        if script.stop_after is not None:
            await self._stop(session, script)
            return
        text = script.says if script.says is not None else f"This is turn {number}."
        if self.turns_backwards:
            self._finished.insert(0, (name, text))
            await asyncio.sleep(0.05)
            if len(session.audio) == sum(session.turns):
                for item, finished_text in self._finished:
                    await self._complete(session, item, finished_text)
            return
        await self._complete(session, name, text)

    async def _complete(self, session: Session, name: str, text: str) -> None:
        for start in range(0, len(text), 6):
            await self._send(
                session, type=f"{_TRANSCRIPTION}.delta", item_id=name, content_index=0, delta=text[start : start + 6]
            )
        spent = {"type": "duration", "seconds": 3}
        await self._send(
            session,
            type=f"{_TRANSCRIPTION}.completed",
            item_id=name,
            content_index=0,
            transcript=text,
            languages=[{"code": code} for code in self.languages],
            usage=spent,
        )


def _session(kind: str) -> dict[str, str]:
    return {"type": kind, "id": "sess_1", "object": f"realtime.{'transcription_' * (kind != 'realtime')}session"}


def marked(requested: Mapping[str, Any]) -> str:
    """The text between the marks."""
    text: str = requested["input"][0]["content"][0]["text"]
    first, _, rest = text.partition("\n")
    code = first.removeprefix("<text ").removesuffix(">")
    assert rest.endswith(f"\n</text {code}>"), text
    return rest.removesuffix(f"\n</text {code}>")


@contextlib.contextmanager
def running() -> Iterator[Realtime]:
    server = Realtime()
    try:
        yield server
    finally:
        server.close()
