"""Answers of a vendor with one thing wrong, given straight to the adapter's flow: no network, thousands in a second."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy.domain.requests import TranscriptionRequest
from proxy.domain.transcript import Transcript
from proxy.errors import ProxyError
from proxy.matching import BoundDeployment
from proxy.providers.base import BufferedRequest, OpenAITranscript, StreamedTranscript, WholeTranscript
from proxy.render import transcripts
from tests.fakes import messages
from tests.fakes.upstream import Recorded
from tests.providers.attempts import Held
from tests.providers.contract import Case, Reply

_MISSING = object()
_WRONG = (
    _MISSING,
    None,
    "x",
    "",
    1e308,
    -5,
    -0.001,
    True,
    [],
    {},
    [None],
    {"a": None},
    "\ud800",
    10**400,
    float("nan"),
)
#: A flow that still asks has met an endless task; the deployment's time limit ends it.
_MAX_STEPS = 60


@dataclass
class Told:
    count: int = 0
    wrong: list[str] = field(default_factory=list)


def told(case: Case, line: BoundDeployment, audio: bytes, formats: Sequence[str]) -> Told:
    """Each value of each JSON answer of the case is replaced in turn."""
    outcome = Told()
    for number, exchange in enumerate(case.exchanges):
        replies = exchange.reply if isinstance(exchange.reply, tuple) else (exchange.reply,)
        for reply in replies:
            if not isinstance(reply, Reply) or reply.document is None or reply.status >= 300:
                continue
            for place, document in _changed(reply.document):
                outcome.count += 1
                for wanted in formats:
                    request = TranscriptionRequest("m", Held(audio), response_format=wanted)
                    said = _complaint(case, line, request, {(number, id(reply)): document})
                    if said:
                        outcome.wrong.append(f"{exchange.path} {place}, {wanted}: {said}")
    return outcome


def values_of(request: Recorded, name: str) -> list[Any]:
    """All that stands under a name, anywhere in query, form, JSON or a form's JSON."""
    found: list[Any] = [*request.query.get(name, ()), *request.fields.get(name, ())]
    waiting = [request.json, *(_maybe(part.value) for part in request.parts if part.filename is None)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            found.extend(value for key, value in node.items() if key == name)
        waiting.extend(node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())
    return found


def _maybe(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _changed(document: Any) -> Iterator[tuple[str, Any]]:
    for place in _places(document):
        for wrong in _WRONG:
            yield (
                f"{'.'.join(map(str, place))} = {'(missing)' if wrong is _MISSING else repr(wrong)[:12]}",
                _with(document, place, wrong),
            )


def _places(node: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of lists the first and the last item, which are enough."""
    yield place
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _places(value, (*place, name))
    elif isinstance(node, list):
        for index in sorted({0, len(node) - 1} if node else ()):
            yield from _places(node[index], (*place, index))


def _with(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return None if value is _MISSING else value
    changed = copy.deepcopy(document)
    node = changed
    for step in place[:-1]:
        node = node[step]
    if value is _MISSING:
        del node[place[-1]]
    else:
        node[place[-1]] = value
    return changed


def _complaint(
    case: Case, line: BoundDeployment, request: TranscriptionRequest, lie: dict[tuple[int, int], Any]
) -> str | None:
    """None where all is well: an error of the vendor's, or a transcript whose bodies make sense."""
    try:
        found = _run(case, line, request, lie)
    except ProxyError as error:
        return None if error.kind.startswith("upstream") else f"{type(error).__name__} is not the vendor's: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if found is None:
        return None
    try:
        body, kind = transcripts.render(found, request.response_format, ("word", "segment"))
        b"".join(transcripts.sse_events(found, diarized=request.response_format == "diarized_json"))
        document = json.loads(body) if kind == "application/json" else None
    except Exception as error:
        return f"cannot be rendered: {type(error).__name__}: {error}"
    return next(_oddities(document), None)


def _oddities(node: Any, name: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _oddities(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from _oddities(value, name)
    elif isinstance(node, float) and not math.isfinite(node):
        yield f"{name} is {node}"
    elif name in ("start", "end", "duration", "seconds") and (
        isinstance(node, bool) or not isinstance(node, (int, float))
    ):
        yield f"{name} is {node!r}"
    elif name in ("start", "end", "duration", "seconds") and not 0 <= node < 1e7:
        yield f"{name} is {node}"
    elif name in ("text", "word", "speaker", "language") and not isinstance(node, str):
        yield f"{name} is {node!r}"


def _run(
    case: Case, line: BoundDeployment, request: TranscriptionRequest, lie: dict[tuple[int, int], Any]
) -> Transcript | None:
    """The flow's transcript; None where the answer is read elsewhere, or the flow would ask on and on."""
    flow = line.adapter.transcription(request)
    step = next(flow)
    counts: dict[int, int] = {}
    for _ in range(_MAX_STEPS):
        asked = step.request if isinstance(step, BufferedRequest) else step
        recorded = Recorded(0, method=asked.method, target=asked.url.target.decode())
        number = next(number for number, one in enumerate(case.exchanges) if one.fits(recorded))
        exchange = case.exchanges[number]
        replies = exchange.reply if isinstance(exchange.reply, tuple) else (exchange.reply,)
        reply = replies[min(counts.get(number, 0), len(replies) - 1)]
        counts[number] = counts.get(number, 0) + 1
        assert isinstance(reply, Reply)
        body = json.dumps(lie[number, id(reply)]).encode() if (number, id(reply)) in lie else reply.whole
        headers = {"content-type": reply.content_type, **reply.headers}
        content: Any = body if isinstance(step, BufferedRequest) else messages.Pieces(body)
        response = messages.response(reply.status, headers=headers, content=content, request=asked)
        try:
            step = flow.send(response)
        except StopIteration as stop:
            answer = stop.value
            if isinstance(answer, StreamedTranscript):
                list(answer.decoder.feed(body))
                list(answer.decoder.end())
            assert isinstance(answer, (OpenAITranscript, StreamedTranscript, WholeTranscript))
            return answer.transcript if isinstance(answer, WholeTranscript) else None
    flow.close()
    return None
