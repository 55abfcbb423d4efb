"""Server-sent events as vendors send them, read by the WHATWG standard and passed on in OpenAI's form.

OpenAI's form is one line, ``data: <json>``, and an empty line; the last one is ``data: [DONE]``. Anything else crashes
or confuses some SDK: comments after an ``id:``, named events, ``retry:`` alone, types that only ``event:`` tells.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from proxy.domain.usage import NO_TOKENS, Usage, speech_tokens
from proxy.errors import ProxyError, UpstreamInvalid
from proxy.providers.wire import json, usage

END: Final = b"[DONE]"
DONE: Final = b"data: [DONE]\n\n"
MAX_EVENT_LENGTH = 16 * 1024 * 1024

_BOM: Final = b"\xef\xbb\xbf"
#: Two line ends, each CR LF, CR or LF.
_END_OF_EVENT = re.compile(rb"(?:\r\n?+|\n)(?:\r\n?+|\n)")
#: What many vendors make of the ``[DONE]`` at the end.
_ENDS = (END, b'"[DONE]"', b"[done]", b"DONE")
#: Most events by far, which begin with their type and need no parsing if their end has arrived, too.
_DELTA = re.compile(rb'\{"type": ?"(?:speech\.audio|transcript\.text)\.delta"')
#: Names of events that only keep the connection open.
_PINGS = frozenset({"ping", "heartbeat", "keepalive", "keep-alive"})
_INCOMPLETE = "The upstream vendor's stream ended before it was complete."


class Reader:
    """Takes events out of a stream as soon as each is complete, wherever the stream was cut into chunks."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._has_begun = False
        self._has_returns = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The data of each event; `END` at the end. A type that only ``event:`` tells is put into the JSON."""
        for _, content in self.frames(data):
            yield content

    def frames(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Each event in OpenAI's form, and its data. One that has that form already is not copied again."""
        self._rest += data
        searched = max(0, len(self._rest) - len(data) - 3)
        self._has_returns = self._has_returns or b"\r" in data
        if not self._has_begun and len(self._rest) >= len(_BOM):
            self._has_begun = True
            if self._rest.startswith(_BOM):
                del self._rest[: len(_BOM)]
                searched = 0
        start = 0
        while (end := self._end_of_event(max(start, searched))) > 0:
            block = bytes(self._rest[start:end])
            start = end
            yield from _frame(block)
        del self._rest[:start]
        if len(self._rest) > MAX_EVENT_LENGTH:
            raise UpstreamInvalid("The upstream vendor sent an event that does not end.")

    def end(self) -> Iterator[tuple[bytes, bytes]]:
        """The last event, if only the empty line after it is missing. Raises UpstreamInvalid if it is cut."""
        rest, self._rest = bytes(self._rest), bytearray()
        for frame, content in _frame(rest.removeprefix(_BOM)):
            if content != END and _parsed(content) is None:
                raise UpstreamInvalid(_INCOMPLETE)
            yield frame, content

    def _end_of_event(self, start: int) -> int:
        """-1 if it has not arrived. Searching for one byte sequence is 50 times as fast as a regular expression."""
        if self._has_returns:
            match = _END_OF_EVENT.search(self._rest, start)
            return match.end() if match is not None else -1
        found = self._rest.find(b"\n\n", start)
        return found + 2 if found >= 0 else -1


class Relay:
    """Passes OpenAI's events on as soon as each is complete, so that a cut stream never ends within one.

    The done event gets the usage that OpenAI promises, if it has none. An error event is raised, as ``failure`` reads
    it.
    """

    def __init__(self, failure: Callable[[bytes], ProxyError]) -> None:
        self._failure = failure
        self._reader = Reader()
        self._is_speech = False
        self._is_done = False
        self._is_ended = False
        #: What the done event reports; known once that has passed.
        self.usage: Usage | None = None
        self.warnings: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Everything that matters has arrived; a stream that breaks off now has lost nothing."""
        return self._is_done or self._is_ended

    def feed(self, data: bytes) -> Iterator[bytes]:
        for frame, content in self._reader.frames(data):
            yield from self._passed(frame, content)

    def end(self) -> Iterator[bytes]:
        """What is missing at the end of the stream; raises UpstreamInvalid if the stream did not announce its end."""
        if not self.is_complete:
            for frame, content in self._reader.end():
                yield from self._passed(frame, content)
        if not self.is_complete:
            raise UpstreamInvalid(_INCOMPLETE)
        if not self._is_ended:
            yield DONE

    def _passed(self, frame: bytes, content: bytes) -> Iterator[bytes]:
        if self._is_ended:
            return
        if content == END:
            if self._is_speech and not self._is_done:
                yield _framed(json.write(_completed({"type": "speech.audio.done"})))
            self._is_ended = True
            yield DONE
        elif (match := _DELTA.match(content)) is not None and content[-1:] == b"}" and b'"error"' not in content:
            self._is_speech = self._is_speech or match[0].endswith(b'speech.audio.delta"')
            yield frame
        else:
            yield from self._unusual(frame, content)

    def _unusual(self, frame: bytes, content: bytes) -> Iterator[bytes]:
        """An event other than a delta that begins with its type."""
        event = checked(content, self._failure)
        kind = event.get("type")
        self._is_speech = self._is_speech or kind == "speech.audio.delta"
        if kind in _PINGS:
            return
        if isinstance(kind, str) and kind.endswith(".done"):
            self._is_done = True
            self.usage = usage.of_speech(event) if kind == "speech.audio.done" else usage.of_transcript(event)
            completed = _completed(event)
            frame = frame if completed is event else _framed(json.write(completed))
        yield frame


class EventParser:
    """OpenAI's events of a transcript as objects. An error event is raised, as ``failure`` reads it."""

    def __init__(self, failure: Callable[[bytes], ProxyError]) -> None:
        self._relay = Relay(failure)
        self.warnings: tuple[str, ...] = ()

    @property
    def usage(self) -> Usage | None:
        return self._relay.usage

    @property
    def is_complete(self) -> bool:
        return self._relay.is_complete

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        return _objects(self._relay.feed(data))

    def end(self) -> Iterator[dict[str, Any]]:
        """Raises UpstreamInvalid if the stream did not announce its end."""
        return _objects(self._relay.end())


def checked(content: bytes, failure: Callable[[bytes], ProxyError]) -> dict[str, Any]:
    """An event's JSON object. Raises what ``failure`` makes of it if it is an error; UpstreamInvalid if it is none."""
    event = _parsed(content)
    if not isinstance(event, dict):
        raise UpstreamInvalid("The upstream vendor sent an event that is not a JSON object.")
    if is_error(event):
        raise failure(content)
    return event


def is_error(event: Mapping[str, Any]) -> bool:
    """Whether it is one of the many shapes of an error; an event without a type is one if it has nothing but words."""
    kind = event.get("type")
    if event.get("error") or event.get("errors") or event.get("object") == "error" or event.get("status") == "error":
        return True
    if isinstance(kind, str) and (_names_error(kind) or not event.keys() & _ERROR_MEMBERS):
        return _names_error(kind)
    return not event.keys() & _CONTENT and any(event.get(name) for name in ("message", "msg", "detail"))


#: Members of events without a type that are not errors, of vendors whose own framing `streams` reads.
_CONTENT: Final = frozenset({"choices", "candidates", "b64", "audio", "delta", "text", "segments"})
#: Members that an event with a type has beside its message if it is an error.
_ERROR_MEMBERS: Final = frozenset({"code", "param", "status"})


def _names_error(kind: str) -> bool:
    return kind.lower().endswith(("error", "exception")) or kind.startswith("error.")


def _frame(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Nothing for comments, ids, retries and empty data."""
    if block.startswith(b"data: {") and block.find(b"\n") == len(block) - 2 and b"\r" not in block:
        yield block, block[6:-2].rstrip()
        return
    name, content = _fields(block)
    if content in _ENDS:
        yield DONE, END
    elif content:
        if name not in (b"", b"message") and _DELTA.match(content) is None:
            content = _named(name.decode("utf-8", "replace"), content)
        yield _framed(content), content


def _fields(block: bytes) -> tuple[bytes, bytes]:
    """Name and data. Lines of data are joined without line ends, which JSON has only where they mean nothing."""
    name, data = b"", []
    for line in block.splitlines():
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.strip())
        elif field == b"event":
            name = value.strip()
    if not data and block.lstrip().startswith(b"{"):
        return name, block.strip()  # a plain document under the name of events, such as an error
    return name, b"".join(data)


def _named(name: str, content: bytes) -> bytes:
    """The data of an event with a name, which is put into the JSON unless that has a type of its own."""
    event = _parsed(content)
    if _names_error(name):
        if isinstance(event, dict) and is_error(event):
            return content
        text = content.decode("utf-8", "replace")
        return json.write({"type": "error", "error": event if isinstance(event, dict) else {"message": text}})
    if isinstance(event, dict) and not isinstance(event.get("type"), str):
        return json.write({"type": name} | {key: value for key, value in event.items() if key != "type"})
    return content


def _completed(event: dict[str, Any]) -> dict[str, Any]:
    """The done event with the usage that OpenAI promises; the same object if it has it."""
    if event["type"] == "speech.audio.done":
        counts, used = ("input_tokens", "output_tokens", "total_tokens"), event.get("usage")
        if isinstance(used, dict) and all(type(used.get(name)) is int for name in counts):
            return event
        extra = used if isinstance(used, dict) else {}
        return event | {"usage": extra | speech_tokens(usage.of_speech(event))}
    if event["type"] == "transcript.text.done" and not isinstance(event.get("usage"), dict):
        return event | {"usage": usage.as_openai(usage.of_transcript(event)) or NO_TOKENS}
    return event


def _objects(frames: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    for frame in frames:
        if frame != DONE:
            yield checked(frame[5:].strip(), lambda _: UpstreamInvalid(_INCOMPLETE))


def _parsed(content: bytes) -> Any:
    """None if it is not JSON."""
    try:
        return json.read(content)
    except ValueError:
        return None


def _framed(content: bytes) -> bytes:
    return b"data: " + content + b"\n\n"
