"""What must hold for any input. A check raises if it does not; errors that a caller may see are no findings.

Wherever bytes arrive in pieces, it must not matter where they were cut: a difference lets two readers of one message
disagree about it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from typing import Any, Protocol, TypeVar

import httptools
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from websockets.frames import Frame, Opcode

from proxy import parse
from proxy.api.forms import FormReader
from proxy.api.json_uploads import JsonReader
from proxy.api.uploads import UploadedFile
from proxy.audio import duration, wav
from proxy.audio.container import Read, container_of
from proxy.audio.labels import label
from proxy.audio.longest import longest
from proxy.audio.pool import WorkerPool
from proxy.audio.probe import probe
from proxy.domain.requests import SpeechRequest
from proxy.domain.transcript import FORMATS
from proxy.errors import BadRequest, InvalidAudio, ProxyError, UpstreamInvalid
from proxy.http.connection import HEAD_LIMIT, Connection
from proxy.http.encoding import EncodedRequest
from proxy.http.errors import TransportError
from proxy.http.messages import URL, Headers, Request
from proxy.http.route import route_to
from proxy.providers.sockets.live import Dictation
from proxy.providers.sockets.realtime import ReadAloud
from proxy.providers.wire import encodings, errors, relay, sse, streams, transcripts
from proxy.render.transcripts import complete, render, sse_events
from proxy.serving.protocol import HttpProtocol, ServerState
from proxy.storage.spool import Spool, SpoolRoom
from proxy.upstream.duplex import Duplex, HandshakeRefused
from tests.audio import sounds
from tests.front.wire import file_part, form, text_part
from tests.fuzz.connections import Wire, run
from tests.fuzz.mutation import cuts, documents, encoded, mutants, pieces

T = TypeVar("T")
SECONDS = sounds.pcm(0.2)


@dataclass(frozen=True)
class Target:
    name: str
    inputs: st.SearchStrategy[Any]
    check: Callable[[Any], None]


def same(first: object, second: object) -> None:
    assert first == second, f"cut in another place: {second!r:.300}, not {first!r:.300}"


# -- requests ----------------------------------------------------------------------------------------------------------

_POST = b"POST /v1/audio/speech HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer k\r\n"
REQUESTS = [
    b"GET /v1/models?a=b HTTP/1.1\r\nHost: a\r\n\r\n" * 2,
    _POST + b"Content-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    _POST
    + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\nyou\r\n0\r\nX-Trailer: 1\r\n\r\n"
    + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    _POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    _POST + b"Content-Length: 70000\r\n\r\n" + b"x" * 70_000 + b"GET /%2Fa HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\nCONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
]
REQUEST_TOKENS = [
    b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b":", b"0\r\n\r\n", b"Content-Length: 0\r\n", b"Content-Length: +5\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity, chunked\r\n", b"Host: b\r\n", b"HTTP/1.1", b"a",
    b"Connection: close\r\n", b"Upgrade: websocket\r\n", b"X-Proxy-A: \xff\r\n", b"%", b"?", b"#", b"http://a/",
    b"\xc3",
]  # fmt: skip


def request_heads(data: tuple[bytes, list[int]]) -> None:
    """Whatever arrives is answered as HTTP, never with a 5xx, and the application sees the same requests."""
    whole, sizes = data
    once = run(_served([whole]))
    same(once, run(_served(pieces(whole, sizes))))


async def _served(arriving: Sequence[bytes]) -> tuple[list[tuple[object, ...]], list[int]]:
    """The complete requests that the application saw, and the statuses of all answers."""
    seen = list[tuple[object, ...]]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        seen.append((scope["method"], scope["path"], scope["query_string"], scope["headers"], body))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    state = ServerState()
    wire = Wire(HttpProtocol(app, state))
    await wire.receive(arriving)
    await wire.hang_up()
    await asyncio.gather(*state.tasks)
    methods = [str(request[0]) for request in seen]
    statuses = _Statuses.of(bytes(wire.sent), methods)
    assert all(status < 500 or status == 501 for status in statuses), statuses
    return seen, statuses


class _Statuses:
    """Reads answers as a client does."""

    def __init__(self) -> None:
        self.found: list[int] = []

    @classmethod
    def of(cls, answers: bytes, methods: Sequence[str]) -> list[int]:
        if "HEAD" in methods or "CONNECT" in methods:  # their answers' lengths are those of nothing, or of a tunnel
            return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d\d\d) ", answers)]
        reader = cls()
        parser = reader._parser = httptools.HttpResponseParser(reader)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        parser.feed_data(answers)
        return reader.found

    def on_headers_complete(self) -> None:
        self.found.append(self._parser.get_status_code())


# -- bodies of requests ------------------------------------------------------------------------------------------------

WAV = sounds.wav(SECONDS)
FORMS = [
    form(text_part("model", "whisper-1"), file_part(WAV[:400]), text_part("language", "en")),
    form(
        text_part("model", "m"),
        ("Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''%e2%82.wav", WAV[:60]),
    ),
    form(text_part("include[]", "logprobs"), ('Content-Disposition: form-data; name="file"', b"no file")),
]
FORM_TOKENS = [
    b"\r\n",
    b"--b0undary",
    b"--b0undary--",
    b'"',
    b"\\",
    b";",
    b"filename*=",
    b'name="file"',
    b"\0",
    b"\xff",
]


class _Reads(Protocol):
    file: UploadedFile

    async def feed(self, data: bytes) -> None: ...
    async def finish(self) -> tuple[list[tuple[str, str]], Spool]: ...


def forms(data: tuple[bytes, list[int]]) -> None:
    """A form gives the same fields and the same file, or is refused by an error that is the client's."""
    whole, sizes = data
    _cut_anywhere(
        lambda room: FormReader(b"multipart/form-data; boundary=b0undary", room, lambda _: 0.05), whole, sizes
    )


BASE64 = b64encode(WAV[:400]).decode()
UPLOADS = [
    json.dumps({"model": "whisper-1", "input_audio": {"data": BASE64, "format": "wav"}, "language": "en"}).encode(),
    json.dumps({"input_audio": {"format": "wav", "data": BASE64}, "model": "m", "temperature": 0.5}).encode(),
    json.dumps({"file": f"data:audio/wav;base64,{BASE64}", "include": ["logprobs"], "prompt": 'say "file"'}).encode(),
    json.dumps({"model": "m", "prompt": '"file":"data:,', "file": f"data:;base64,{BASE64}"}).encode(),
]
UPLOAD_TOKENS = [
    b'"', b"\\", b"\\u00", b"\\u0066ile", b"\\/", b'"file":"', b'"input_audio":{"data":"', b"}", b"{", b"[", b",", b":",
    b"data:", b";base64,", b"=", b"==", b"-_", b"\\n", b"\xff", b"\xed\xa0\x80", b"\\ud800", b"NaN",
]  # fmt: skip


def json_uploads(data: tuple[bytes, list[int]]) -> None:
    """As `forms`; what is accepted is a JSON object whose audio is what anybody else decodes."""
    whole, sizes = data
    read = _cut_anywhere(lambda room: JsonReader(room, lambda _: 0.05), whole, sizes)
    if read is None:
        return
    document = json.loads(whole.decode("utf-8", "replace"), strict=False)  # base64 may have line breaks
    audio = document["file"] if "file" in document else document["input_audio"]["data"]
    if audio.lower().startswith("data:"):
        audio = audio.partition(";base64,")[2]
    plain = re.sub(r"\s", "", audio).translate(str.maketrans("-_", "+/"))
    assert read[1] == b64decode(plain + "=" * (-len(plain) % 4)), "other audio than the document has"


def _cut_anywhere(
    reader: Callable[[SpoolRoom], _Reads], whole: bytes, sizes: Sequence[int]
) -> tuple[list[tuple[str, str]], bytes] | None:
    """What was read; None if it was refused."""
    once = run(_read(reader, [whole]))
    same(once, run(_read(reader, pieces(whole, sizes))))
    return once


async def _read(
    reader: Callable[[SpoolRoom], _Reads], arriving: Sequence[bytes]
) -> tuple[list[tuple[str, str]], bytes] | None:
    room = _room()
    reading = None
    try:
        reading = reader(room)
        for piece in arriving:
            await reading.feed(piece)
        fields, file = await reading.finish()
        audio = file.read_at(file.size, 0)
        parse.transcription_request(fields, file, "transcribe")
        return fields, audio
    except BadRequest:
        return None
    finally:
        if reading is not None:
            reading.file.close()
        assert room.used == 0, "a spool is left"


@cache
def _room() -> SpoolRoom:
    return SpoolRoom(limit=1 << 30)


SPEECH_NAMES = [
    "model", "input", "voice", "id", "response_format", "speed", "stream_format", "instructions", "user", "metadata",
    "fallbacks", "guardrails", "tags", "extra_body", "file", "",
]  # fmt: skip
SPEECH_WORDS = ["tts-1", "alloy", "mp3", "wav", "sse", "audio", "Hello", "\ud800", "\0", "1,5", "null"]


def speech_bodies(data: bytes) -> None:
    """A request, or an error that is the client's."""
    with contextlib.suppress(ProxyError):
        request = parse.speech_request(data)
        assert request.model
        request.input.encode()


# -- answers of vendors ------------------------------------------------------------------------------------------------

RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;x\r\nyou\r\n0\r\nX-Trailer: 1\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    b"HTTP/1.1 429 Slow\r\nRetry-After: 1\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
]


def responses(data: tuple[bytes, list[int]]) -> None:
    """A response that is whole, or a TransportError, and nothing that waits for ever."""
    whole, sizes = data
    answers = [run(_answered(some)) for some in ([whole], pieces(whole, sizes))]
    if len(whole) < HEAD_LIMIT:  # which is checked piece by piece
        same(*answers)


async def _answered(arriving: Sequence[bytes]) -> object:
    connection = Connection(lambda _: None)
    wire = Wire(connection)
    request = EncodedRequest.of(Request("POST", URL("http://a/b"), Headers([]), b"x"))

    async def exchange() -> object:
        try:
            await connection.exchange(request, {"read": 10})
            body = b""
            while data := await connection.read({"read": 10}):
                body += data
        except TransportError:
            return None
        return connection.status, connection.headers, body

    exchanging = asyncio.ensure_future(exchange())
    await asyncio.sleep(0)
    await wire.receive(arriving)
    await wire.hang_up()
    return await exchanging


AUDIO_EVENT = b'data: {"type":"speech.audio.delta","audio":"AAEC"}\n\n'
EVENTS = [
    AUDIO_EVENT + b'data: {"type":"speech.audio.done","usage":{"input_tokens":1}}\n\ndata: [DONE]\n\n',
    b'event: transcript.text.delta\r\ndata: {"delta":"Hi"}\r\n\r\n'
    b"id: 1\r\nretry: 5\r\n: ping\r\n\r\ndata: [DONE]\r\n\r\n",
    b'\xef\xbb\xbfdata: {"type":"transcript.text.done",\rdata: "text":"Hi"}\r\rdata: "[DONE]"\r\r',
    b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n'
    b'data: {"object":"audio.tts.chunk","b64":"AAEC"}\n\ndata:[DONE]\n\n',
    b'event: error\ndata: {"message":"no","code":401}\n\ndata: {"error":{"message":"no"}}\n\n',
    b'data: {"type":"transcription.text.delta","text":"a"}\n\n'
    b'data: {"type":"transcription.done","usage":{"total_tokens":1}}\n\n',
]
EVENT_TOKENS = [
    b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"data: ", b"data:", b"event: error", b": ", b"[DONE]", b"\x0b", b"\x85",
    b'"type":', b'"error":', b"null", b"NaN", b"1e999", b"{}", b"[]", b"\xef\xbb\xbf", b'"\\ud800"', b"[" * 300,
]  # fmt: skip
_OPENAI = re.compile(rb"data: (?:\{[^\r\n]*\}|\[DONE\])\s*\n\n")


def _failure(event: bytes) -> ProxyError:
    return errors.to_error(errors.of_event(event))


def events(data: tuple[bytes, list[int]]) -> None:
    """Events in OpenAI's form, or an error of the upstream's kind."""
    whole, sizes = data
    for kind in (relay.SpeechRelay, relay.TranscriptRelay):
        relayed = [_relayed(kind(_failure), some) for some in ([whole], pieces(whole, sizes))]
        same(*relayed)
        for frame in relayed[0]:
            assert isinstance(frame, str) or _OPENAI.fullmatch(frame), frame
    for reader in (relay.TranscriptParser, streams.AudioChunks, streams.SpeechEvents):
        same(_relayed(reader(_failure), [whole]), _relayed(reader(_failure), pieces(whole, sizes)))


def _relayed(reader: Any, arriving: Sequence[bytes]) -> list[Any]:
    """What came out, and how it ended."""
    found = list[Any]()
    try:
        for piece in arriving:
            found.extend(reader.feed(piece))
        found.extend(reader.end())
    except ProxyError as error:
        found.append(type(error).__name__)
    return found


TRANSCRIPT_NAMES = [
    "text", "segments", "words", "word", "start", "end", "timestamp", "offsets", "from", "to", "speaker", "language",
    "duration", "usage", "type", "seconds", "tokens", "input_tokens", "id", "logprobs", "languages", "code", "result",
    "data", "chunks", "error", "message", "detail", "speaker_segments", "task", "avg_logprob", "transcription",
]  # fmt: skip
TRANSCRIPT_WORDS = [
    "Hello.", "A", "en", "english", "0.5", "00:00:01,000", "1\n00:00:00,000 --> 00:00:01,000\nHi\n", "WEBVTT\n\n",
    "\ud800", "\0", "nan", "duration", "tokens",
]  # fmt: skip


def vendor_documents(data: bytes) -> None:
    """A transcript in all six formats and as events, or UpstreamInvalid; as an error, always an error of ours."""
    errors.to_error(errors.of_event(data), ["secret"]).json()
    for options in ({}, {"diarized": True}, {"is_openai": True}, {"diarized": True, "is_openai": True}):
        try:
            transcript, _ = transcripts.read(data, **options)
        except UpstreamInvalid:
            continue
        for name in FORMATS:
            body, kind = render(transcript, name, ("word", "segment"))
            body.decode()
            if "json" in kind:
                json.loads(body, parse_constant=_no_json)
        for frame in sse_events(transcript, diarized=bool(options.get("diarized"))):
            assert frame == sse.DONE or json.loads(frame[6:], parse_constant=_no_json)
        document = transcripts.found_in(encodings.decoded(data, ""), "application/json")
        if isinstance(document, dict):
            json.loads(complete(document, transcript, "verbose_json", ("word",)), parse_constant=_no_json)


def _no_json(name: str) -> None:
    raise AssertionError(f"{name} in an answer")


# -- WebSockets --------------------------------------------------------------------------------------------------------


def _frame(opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=False)


_EVENTS = [
    b'{"type":"session.updated"}',
    b'{"type":"response.created","response":{"id":"r"}}',
    b'{"type":"response.output_audio.delta","response_id":"r","delta":"AAECAw=="}',
    b'{"type":"response.output_audio_transcript.done","response_id":"r","transcript":"Hello."}',
    b'{"type":"response.done","response":{"id":"r","status":"completed","usage":{"total_tokens":1}}}',
    b'{"type":"conversation.item.input_audio_transcription.completed","item_id":"i","transcript":"Hi"}',
    b'{"type":"error","error":{"type":"server_error","message":"no"}}',
]
FRAMES = [
    b"".join(_frame(Opcode.TEXT, event) for event in _EVENTS),
    _frame(Opcode.TEXT, b"half ", fin=False) + _frame(Opcode.PING, b"?") + _frame(Opcode.CONT, "ß".encode()),
    _frame(Opcode.BINARY, bytes(70_000)) + _frame(Opcode.TEXT, b"x" * 200) + _frame(Opcode.CLOSE, b"\x03\xe8bye"),
]
FRAME_TOKENS = [
    *[bytes([first]) for first in (0x80, 0x81, 0x82, 0x88, 0x89, 0x8A, 0x01, 0x00, 0xF1, 0x7E, 0x7F, 0xFF)],
    _frame(Opcode.CLOSE, b"\x03\xe8"), _frame(Opcode.PONG, b""), b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
]  # fmt: skip
_HANDSHAKE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
)
HANDSHAKES = [_HANDSHAKE, b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}"]


def frames(data: tuple[bytes, bytes, list[int]]) -> None:
    """The same messages, or a lost socket; a vendor's conversation makes turns of them, or raises a ProxyError."""
    handshake, whole, sizes = data
    once = run(_messages(handshake, [whole]))
    same(once, run(_messages(handshake, pieces(whole, sizes))))
    for message in once or ():
        for conversation in _conversations():
            conversation.start(resumed=False)
            with contextlib.suppress(ProxyError):
                for known in _EVENTS[:2]:
                    conversation.receive(known)
                conversation.receive(message)


def socket_events(data: list[Any]) -> None:
    """As `frames`, for a conversation that gets one event after the other."""
    for conversation in _conversations():
        conversation.start(resumed=False)
        with contextlib.suppress(ProxyError):
            for event in data:
                conversation.receive(encoded(event).decode())
                if conversation.wants_audio:
                    conversation.feed(bytes(4800))
                    conversation.feed(b"")


def _conversations() -> tuple[ReadAloud | Dictation, ...]:
    request = SpeechRequest(model="m", input="Hello.", voice="alloy")
    return ReadAloud(request, reasons=False, secrets=("secret",)), Dictation({}, ("secret",))


async def _messages(handshake: bytes, arriving: Sequence[bytes]) -> list[str | bytes] | None:
    """None if the handshake failed."""
    url = URL("ws://a/b")
    duplex = Duplex(url, lambda _: None)
    wire = Wire(duplex)
    opening = asyncio.ensure_future(
        duplex.handshake(Headers([]), route_to(URL("http://a/b"), trust_env=False), {"read": 10})
    )
    await asyncio.sleep(0)
    key = re.search(rb"Sec-WebSocket-Key: (\S+)", wire.sent)
    assert key
    accept = b64encode(sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    await wire.receive([handshake.replace(b"%b", accept), *arriving])
    await wire.hang_up()
    try:
        await opening
    except (TransportError, HandshakeRefused):
        return None
    found = list[str | bytes]()
    while (message := duplex.pop()) is not None:
        found.append(message)
    assert duplex.unread == 0
    return found


EVENT_NAMES = [
    "type", "response", "id", "response_id", "delta", "transcript", "item_id", "usage", "error", "code", "message",
    "input_tokens", "output_tokens", "languages", "status", "status_details", "total_tokens", "seconds",
]  # fmt: skip
EVENT_TYPES = [
    "session.updated", "response.created", "response.output_audio.delta", "response.output_audio_transcript.delta",
    "response.output_audio_transcript.done", "response.done", "error", "input_audio_buffer.committed", "r", "i",
    "conversation.item.input_audio_transcription.delta", "conversation.item.input_audio_transcription.completed",
    "conversation.item.input_audio_transcription.failed", "completed", "failed", "incomplete", "AAEC", "Hello.",
]  # fmt: skip


# -- audio -------------------------------------------------------------------------------------------------------------

AUDIO = [WAV, *(sounds.file(name, SECONDS) for name in sounds.FILES)]
AUDIO_TOKENS = [
    b"RIFF", b"WAVE", b"fmt ", b"data", b"ds64", b"RF64", b"RIFX", b"OggS\0", b"OpusHead", b"fLaC", b"ID3\x04\0\0",
    b"moov", b"mvhd", b"moof", b"ftyp", b"\x1a\x45\xdf\xa3", b"\x1f\x43\xb6\x75", b"\xe7", b"\xff\xfb\x90", b"\xff\xf1",
    b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"Xing", b"{", b"<html>", b"PK\x03\x04",
]  # fmt: skip
COUNTED = ("mp3", "aac", "opus", "flac", "wav", "pcm")


def audio_headers(data: tuple[bytes, list[int]]) -> None:
    """The container, the label and the bounds are found or not found, in bounded work."""
    whole, sizes = data
    read = _reading(whole)
    container = container_of(read)
    found = label(read, "a.wav", "audio/wav")
    assert container is None or found.container == container
    for name in {container, "wav", "mp3", "ogg", "flac", "mp4", "webm"}:
        _check_seconds(longest(read, len(whole), name))
    _check_seconds(wav.seconds(read, len(whole)))
    with contextlib.suppress(ValueError):
        wav.parse(whole)
    for name in COUNTED:
        counted = []
        for some in ([whole], pieces(whole, sizes)):
            counter = duration.counter(name, 24_000)
            assert counter is not None
            for piece in some:
                counter.feed(piece)
            _check_seconds(counter.seconds)
            counted.append(counter.seconds)


def _check_seconds(seconds: float | None) -> None:
    assert seconds is None or 0 <= seconds < float("inf"), seconds


def _reading(data: bytes) -> Read:
    return lambda size, start: data[start : start + size]


def decoders(data: bytes) -> None:
    """FFmpeg, in its confined process, measures it or refuses it; the process lives on, or another takes its place."""
    run(_probed(data))


async def _probed(data: bytes) -> None:
    with contextlib.suppress(InvalidAudio):
        await probe(_pool(), data)


@cache
def _pool() -> WorkerPool:
    return WorkerPool(size=1, keep=1, idle_seconds=600)


async def close_pool() -> None:
    await _pool().aclose()


def _cut(data: st.SearchStrategy[bytes]) -> st.SearchStrategy[tuple[bytes, list[int]]]:
    return st.tuples(data, cuts())


_TRANSCRIPTS = documents(TRANSCRIPT_NAMES, TRANSCRIPT_WORDS)
_SOCKET_EVENT = st.dictionaries(
    st.sampled_from(EVENT_NAMES), documents(EVENT_NAMES, EVENT_TYPES, max_leaves=6), max_size=5
).flatmap(lambda event: st.sampled_from(EVENT_TYPES).map(lambda kind: event | {"type": kind}))

TARGETS = (
    Target("request_heads", _cut(mutants(REQUESTS, REQUEST_TOKENS)), request_heads),
    Target("forms", _cut(mutants(FORMS, FORM_TOKENS)), forms),
    Target("json_uploads", _cut(mutants(UPLOADS, UPLOAD_TOKENS)), json_uploads),
    Target(
        "speech_bodies",
        documents(SPEECH_NAMES, SPEECH_WORDS).map(encoded)
        | mutants([b'{"model":"tts-1","input":"Hello","voice":{"id":"alloy"},"speed":1.5}'], UPLOAD_TOKENS),
        speech_bodies,
    ),
    Target("responses", _cut(mutants(RESPONSES, REQUEST_TOKENS)), responses),
    Target("events", _cut(mutants(EVENTS, EVENT_TOKENS)), events),
    Target(
        "vendor_documents",
        (_TRANSCRIPTS | st.dictionaries(st.sampled_from(TRANSCRIPT_NAMES), _TRANSCRIPTS, max_size=6)).map(encoded),
        vendor_documents,
    ),
    Target(
        "frames",
        st.tuples(st.just(_HANDSHAKE) | mutants(HANDSHAKES, REQUEST_TOKENS), mutants(FRAMES, FRAME_TOKENS), cuts()),
        frames,
    ),
    Target("socket_events", st.lists(_SOCKET_EVENT, max_size=8), socket_events),
    Target("audio_headers", _cut(mutants(AUDIO, AUDIO_TOKENS)), audio_headers),
    Target("decoders", mutants(AUDIO, AUDIO_TOKENS), decoders),
)
