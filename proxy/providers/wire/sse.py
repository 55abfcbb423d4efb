"""Server-sent events as vendors send them, read by the WHATWG standard and brought into OpenAI's form.

OpenAI's form is one line, ``data: <json>``, and an empty line; the last one is ``data: [DONE]``. Anything else crashes
or confuses some SDK: comments after an ``id:``, named events, ``retry:`` alone, types that only ``event:`` tells.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from proxy.errors import ProxyError, UpstreamInvalid
from proxy.providers.wire import encodings, json

END: Final = b"[DONE]"
DONE: Final = b"data: [DONE]\n\n"
MAX_EVENT_LENGTH = 16 * 1024 * 1024

_BOM: Final = b"\xef\xbb\xbf"
#: Two line ends, each CR LF, CR or LF.
_END_OF_EVENT = re.compile(rb"(?:\r\n?+|\n)(?:\r\n?+|\n)")
#: What many vendors make of the ``[DONE]`` at the end.
_END = re.compile(rb"[\s\"'\[]*done[\s\"'\].]*", re.IGNORECASE)
#: How a stream of events begins: a field, or a comment.
_BEGIN = re.compile(rb"(?:data|event|id|retry)(?::|[\r\n])|:")
_OBJECT = re.compile(rb"^data:[ \t]*\{", re.MULTILINE)
_FIELDS = (b"data:", b"event:", b"id:", b"retry:")
#: Some servers send blanks while they work.
_MAX_HEAD: Final = 65_536
INCOMPLETE: Final = "The upstream vendor's stream ended before it was complete."


def begins(head: bytes) -> bool | None:
    """Whether bytes are events, whatever their label says; None while there are too few to tell."""
    text = head.removeprefix(_BOM).lstrip()
    if _BEGIN.match(text):
        return True
    is_open = _BOM.startswith(head) or any(field.startswith(text) for field in _FIELDS)
    return None if is_open and len(head) < _MAX_HEAD else False


def holds_objects(body: bytes) -> bool:
    """Whether a body that begins like events is that, rather than a text such as ``id: 5``."""
    return _OBJECT.search(body) is not None


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
                raise UpstreamInvalid(INCOMPLETE)
            yield frame, content

    def _end_of_event(self, start: int) -> int:
        """-1 if it has not arrived. Searching for one byte sequence is 50 times as fast as a regular expression."""
        if self._has_returns:
            match = _END_OF_EVENT.search(self._rest, start)
            return match.end() if match is not None else -1
        found = self._rest.find(b"\n\n", start)
        return found + 2 if found >= 0 else -1


def checked(content: bytes, failure: Callable[[bytes], ProxyError]) -> dict[str, Any]:
    """An event's JSON object. Raises what ``failure`` makes of it if it is an error; UpstreamInvalid if it is none."""
    event = _parsed(content)
    if not isinstance(event, dict):
        raise UpstreamInvalid("The upstream vendor sent an event that is not a JSON object.")
    if is_error(event):
        raise failure(content)
    return event


def is_done(kind: Any) -> bool:
    """Whether an event's type says that it is the last but ``[DONE]``."""
    return isinstance(kind, str) and (kind == "done" or kind.endswith(".done"))


def reports_error(body: bytes) -> bool:
    """Whether a whole document is an error."""
    document = _parsed(body)
    return isinstance(document, dict) and is_error(document)


def is_error(event: Mapping[str, Any]) -> bool:
    """Whether it is one of the many shapes of an error; an event without a type is one if it has nothing but words."""
    kind = event.get("type")
    if event.get("error") or event.get("errors") or event.get("object") == "error" or event.get("status") in _FAILED:
        return True
    if isinstance(kind, str) and (_names_error(kind) or not event.keys() & _ERROR_MEMBERS):
        return _names_error(kind)
    return not event.keys() & _CONTENT and any(event.get(name) for name in _MESSAGES)


#: Members of events without a type that are not errors, of vendors whose own framing `streams` reads.
_CONTENT: Final = frozenset({"choices", "candidates", "b64", "audio", "delta", "text", "segments"})
#: Members that an event with a type has beside its message if it is an error.
_ERROR_MEMBERS: Final = frozenset({"code", "param"})
_MESSAGES: Final = ("message", "msg", "detail", "error_message", "errorMessage", "error_msg", "err_msg")
_FAILED: Final = ("error", "failed", "failure")


def _names_error(kind: str) -> bool:
    return kind.lower().endswith(("error", "exception")) or kind.startswith("error.")


def _frame(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Nothing for comments, ids, retries and empty data."""
    if block.startswith(b"data: {") and block.find(b"\n") == len(block) - 2 and b"\r" not in block:
        yield block, block[6:-2].rstrip()
        return
    name, lines = _fields(block)
    contents = [b"\n".join(lines)]
    if len(lines) > 1:
        contents = _joined(contents[0], lines)
    for content in contents:
        if _END.fullmatch(content):
            yield DONE, END
        elif content or _names_error(name):
            content = _named(name, content) if name not in ("", "message") else content
            yield framed(content), content


def _fields(block: bytes) -> tuple[str, list[bytes]]:
    """Name, and lines of data."""
    name, data = "", []
    for line in block.splitlines():
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.strip().removeprefix(b"data:").lstrip())  # twice, from a proxy behind a proxy
        elif field == b"event":
            name = value.strip().decode("utf-8", "replace")
    if not data and block.lstrip().startswith(b"{"):
        return name, [block.strip()]  # a plain document under the name of events, such as an error
    return name, data


def _joined(whole: bytes, lines: Sequence[bytes]) -> list[bytes]:
    """The event of which several lines are the data, in one line; or one event for each if nothing separates them."""
    event = _parsed(whole)
    if event is not None:
        return [json.write(event)]
    are_events = all(_END.fullmatch(line) or isinstance(_parsed(line), dict) for line in lines)
    return list(lines) if are_events else [b"".join(lines)]


def _named(name: str, content: bytes) -> bytes:
    """The data of an event with a name, which is put into the JSON unless that has a type of its own."""
    event = _parsed(content)
    if _names_error(name):
        if isinstance(event, dict) and is_error(event):
            return content
        text = content.decode("utf-8", "replace")
        return json.write({"type": "error", "error": event if isinstance(event, dict) else {"message": text}})
    kind = event.get("type") if isinstance(event, dict) else None
    is_vague = not isinstance(kind, str) or (name.startswith(_OPENAIS) and not kind.startswith(_OPENAIS))
    if isinstance(event, dict) and is_vague:
        return json.write({"type": name} | {key: value for key, value in event.items() if key != "type"})
    return content


#: The types of OpenAI's events.
_OPENAIS: Final = ("speech.audio.", "transcript.text.")


def _parsed(content: bytes) -> Any:
    """None if it is not JSON. It should be in UTF-8."""
    try:
        return json.read(content)
    except ValueError:
        pass
    try:
        return json.read(encodings.decoded(content))
    except ValueError:
        return None


def framed(content: bytes) -> bytes:
    return b"data: " + content + b"\n\n"
