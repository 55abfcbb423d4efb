"""The functions that callers see. They translate arguments; what a call means lies in `proxy.calls`.

Each pair is the same call twice: the ``a…`` function runs in the caller's event loop, the other one blocks, whether or
not an event loop is running, and makes a loop of its own in a thread for as long as the call lasts.

Arguments of all of them: ``api_base`` (any server that speaks OpenAI's API), ``api_key`` (else the vendor's usual
variable, which is sent to the vendor's own server only), ``organization``, ``project``, ``max_retries`` (2; further
attempts after failures that may pass), ``timeout`` (600; seconds for each attempt), ``client`` (an httpx.AsyncClient or
httpx.Client, which keeps connections between calls and stays open; without it each call connects anew) and
``optional_params`` (further fields for the vendor; any other named argument is one, too).

All raise `proxy.errors.ProxyError`, which has ``status``, ``type``, ``code``, ``param`` and ``message``.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import fields
from functools import partial
from typing import Any, Literal, TypedDict, TypeVar, Unpack, overload

import httpx
from anyio.from_thread import start_blocking_portal

from proxy import parse
from proxy.calls import Answer, AttemptRunner, BoundDeployment
from proxy.domain.call import Attempt
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.errors import BadRequest, ProxyError, UpstreamInvalid
from proxy.routing import fitness
from proxy.sdk import target
from proxy.sdk.answers import AsyncStream, BlockingStream, Speech, read_whole
from proxy.sdk.clients import Client
from proxy.sdk.costs import CostTracker, settled_by
from proxy.sdk.documents import Text, Transcription
from proxy.sdk.files import File, opened
from proxy.sdk.session import open_calls, repeated
from proxy.sdk.target import Settings

R = TypeVar("R")

Task = Literal["transcribe", "translate"]
PlainFormat = Literal["text", "srt", "vtt"]
ObjectFormat = Literal["json", "verbose_json", "diarized_json"]

_MODES: Mapping[Task, Mode] = {"transcribe": Mode.TRANSCRIPTION, "translate": Mode.TRANSLATION}
_SETTINGS = frozenset(field.name for field in fields(Settings))


class Options(TypedDict, total=False):
    api_base: str | None
    api_key: str | None
    organization: str | None
    project: str | None
    max_retries: int | None
    timeout: float | None
    client: Client | None
    optional_params: Mapping[str, Any] | None


class SpeechOptions(Options, total=False):
    response_format: str | None
    speed: float | None
    instructions: str | None
    stream_format: Literal["audio", "sse"] | None


class TranslationOptions(Options, total=False):
    prompt: str | None
    temperature: float | None


class TranscriptionOptions(TranslationOptions, total=False):
    language: str | None
    languages: Sequence[str]
    keywords: Sequence[str]
    include: Sequence[str]
    timestamp_granularities: Sequence[str]
    chunking_strategy: str | Mapping[str, Any] | None
    known_speaker_names: Sequence[str]
    known_speaker_references: Sequence[str]


# -- speech ------------------------------------------------------------------------------------------------------------


async def aspeech(
    model: str,
    input: str,
    voice: str | Mapping[str, str] | None = None,
    *,
    stream: bool = False,
    **options: Unpack[SpeechOptions],
) -> Speech:
    """The speech, read as a whole, so that ``stream_to_file`` and the like work at once; its ``cost`` is in USD.

    With ``stream=True`` it comes as it arrives: ``async with await aspeech(…, stream=True) as answer`` and
    ``async for chunk in answer.aiter_bytes()``.

    Options: ``response_format`` (mp3, opus, aac, flac, wav, pcm), ``speed``, ``instructions``, ``stream_format``, and
    those of the module.
    """
    settings, further = _divided(options)
    request = _speech_request({**further, "model": model, "input": input, "voice": voice})
    line = target.line(model, Mode.SPEECH, settings)
    _raise(fitness.speech(line, request))
    async with AsyncExitStack() as stack:
        calls, costs = await open_calls(stack, line, settings.client), CostTracker(line)
        if not stream:
            return await repeated(partial(_spoken, calls, costs, request), _retries(line))
        answer, attempt = await repeated(partial(_speaking, calls, costs, request), _retries(line))
        stack.push_async_callback(answer.aclose)
        return AsyncStream(answer, attempt, costs, stack.pop_all())


def speech(
    model: str,
    input: str,
    voice: str | Mapping[str, str] | None = None,
    *,
    stream: bool = False,
    **options: Unpack[SpeechOptions],
) -> Speech:
    """As `aspeech`; with ``stream=True``: ``with speech(…, stream=True) as answer``, ``answer.iter_bytes()``."""
    _refuse_async_client(options)
    ask = partial(aspeech, model, input, voice, stream=stream, **options)
    return BlockingStream.open(ask) if stream else _blocking(ask)


async def _speaking(calls: AttemptRunner, costs: CostTracker, request: SpeechRequest) -> tuple[Answer, Attempt]:
    attempt = costs.attempt()
    return settled_by(await calls.speech(costs.line, request, attempt), attempt), attempt


async def _spoken(calls: AttemptRunner, costs: CostTracker, request: SpeechRequest) -> Speech:
    return await read_whole(*await _speaking(calls, costs, request), costs)


def _speech_request(document: Mapping[str, Any]) -> SpeechRequest:
    """Checked as the HTTP entrance checks it."""
    members = [_member(name, value) for name, value in document.items() if value is not None]
    return parse.speech_request(b"{" + b",".join(members) + b"}")


def _member(name: str, value: Any) -> bytes:
    try:
        return json.dumps(name).encode() + b":" + json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise BadRequest(f"'{name}' cannot be sent as JSON: {error}.", param=name, code="invalid_type") from error


# -- transcription and translation -------------------------------------------------------------------------------------


@overload
async def atranscription(
    model: str, file: File, *, response_format: PlainFormat, **options: Unpack[TranscriptionOptions]
) -> str: ...
@overload
async def atranscription(
    model: str, file: File, *, response_format: ObjectFormat = ..., **options: Unpack[TranscriptionOptions]
) -> Transcription: ...
async def atranscription(
    model: str, file: File, *, response_format: str = "json", **options: Unpack[TranscriptionOptions]
) -> Transcription | str:
    """What was said: an object with ``text``, ``usage`` and whatever the format holds, or a string for text, srt, vtt.

    Both have ``cost``, in USD; None where it is not known.

    ``file`` is a path, bytes, an open binary file, ``(name, file)`` or ``(name, file, content type)``; a file on disk
    is read while it is sent, and one that cannot be opened raises OSError.

    Options: ``language``, ``languages``, ``keywords``, ``prompt``, ``temperature``, ``timestamp_granularities``,
    ``include``, ``chunking_strategy``, ``known_speaker_names``, ``known_speaker_references``, and those of the module.
    """
    return await _transcript(model, file, "transcribe", {**options, "response_format": response_format})


@overload
def transcription(
    model: str, file: File, *, response_format: PlainFormat, **options: Unpack[TranscriptionOptions]
) -> str: ...
@overload
def transcription(
    model: str, file: File, *, response_format: ObjectFormat = ..., **options: Unpack[TranscriptionOptions]
) -> Transcription: ...
def transcription(
    model: str, file: File, *, response_format: str = "json", **options: Unpack[TranscriptionOptions]
) -> Transcription | str:
    """As `atranscription`."""
    _refuse_async_client(options)
    given = {**options, "response_format": response_format}
    return _blocking(partial(_transcript, model, file, "transcribe", given))


@overload
async def atranslation(
    model: str, file: File, *, response_format: PlainFormat, **options: Unpack[TranslationOptions]
) -> str: ...
@overload
async def atranslation(
    model: str, file: File, *, response_format: ObjectFormat = ..., **options: Unpack[TranslationOptions]
) -> Transcription: ...
async def atranslation(
    model: str, file: File, *, response_format: str = "json", **options: Unpack[TranslationOptions]
) -> Transcription | str:
    """What was said, in English; as `atranscription`. Options: ``prompt``, ``temperature`` and those of the module."""
    return await _transcript(model, file, "translate", {**options, "response_format": response_format})


@overload
def translation(
    model: str, file: File, *, response_format: PlainFormat, **options: Unpack[TranslationOptions]
) -> str: ...
@overload
def translation(
    model: str, file: File, *, response_format: ObjectFormat = ..., **options: Unpack[TranslationOptions]
) -> Transcription: ...
def translation(
    model: str, file: File, *, response_format: str = "json", **options: Unpack[TranslationOptions]
) -> Transcription | str:
    """As `atranslation`."""
    _refuse_async_client(options)
    given = {**options, "response_format": response_format}
    return _blocking(partial(_transcript, model, file, "translate", given))


async def _transcript(model: str, file: File, task: Task, options: Mapping[str, Any]) -> Transcription | str:
    settings, further = _divided(options)
    if further.pop("stream", None):
        raise BadRequest(
            "A transcript is not streamed here: leave 'stream' out, or ask a running proxy for it by "
            f"POST /v1/audio/{'transcriptions' if task == 'transcribe' else 'translations'} with stream=true.",
            param="stream",
            code="unsupported_value",
        )
    form = [("model", model), *(row for name, value in further.items() for row in _form_rows(name, value))]
    async with AsyncExitStack() as stack:
        request = parse.transcription_request(form, await stack.enter_async_context(opened(file)), task)
        line = target.line(model, _MODES[task], settings)
        _raise(fitness.transcription(line, request))
        calls = await open_calls(stack, line, settings.client)
        return await repeated(partial(_written, calls, CostTracker(line), request), _retries(line))


async def _written(calls: AttemptRunner, costs: CostTracker, request: TranscriptionRequest) -> Transcription | str:
    attempt = costs.attempt()
    answer = settled_by(await calls.transcription(costs.line, request, attempt), attempt)
    try:
        if answer.rest is not None:
            raise UpstreamInvalid("The upstream vendor sent events where a transcript was due.")
    finally:
        await answer.aclose()
    if answer.content_type.startswith("application/json"):
        return Transcription(json.loads(answer.first), costs.cost)
    return Text(answer.first.decode("utf-8", "replace"), costs.cost)


def _form_rows(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Form fields as OpenAI's SDKs make them of arguments."""
    match value:
        case None:
            return
        case bool():
            yield name, "true" if value else "false"
        case str() | int() | float():
            text = str(value)
            if text.encode("utf-8", "replace").decode() != text:
                raise BadRequest(f"'{name}' is not text that UTF-8 can carry.", param=name, code="invalid_type")
            yield name, text
        case Mapping():
            for key, part in value.items():
                yield from _form_rows(f"{name}[{key}]", part)
        case list() | tuple() | set() | frozenset():
            for part in value:
                yield from _form_rows(f"{name}[]", part)
        case _:
            raise BadRequest(f"'{name}' must be text, a number or a list of such.", param=name, code="invalid_type")


# -- both --------------------------------------------------------------------------------------------------------------


def _divided(options: Mapping[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """How the model is reached, and the fields for the vendor; an argument goes before its like in optional_params."""
    given = {**(options.get("optional_params") or {}), **options}
    given.pop("optional_params", None)
    settings = Settings(**{name: given.pop(name) for name in _SETTINGS & options.keys()})
    for name in given:
        if name in parse.OWN_FIELDS or name.startswith(parse.OWN_PREFIXES):
            raise BadRequest(f"'{name}' has no meaning here.", param=name, code="unknown_parameter")
    return settings, given


def _refuse_async_client(options: Mapping[str, Any]) -> None:
    if isinstance(options.get("client"), httpx.AsyncClient):
        raise BadRequest(
            "An httpx.AsyncClient belongs to one event loop: pass an httpx.Client, or await the function whose name "
            "begins with 'a'.",
            param="client",
        )


def _blocking(ask: Callable[[], Awaitable[R]]) -> R:
    """The result, by an event loop in a thread, since the caller's own thread may have a running one."""
    with start_blocking_portal(name="proxy-call") as portal:
        return portal.call(ask)


def _retries(line: BoundDeployment) -> int:
    return line.deployment.max_retries or 0


def _raise(objection: ProxyError | None) -> None:
    if objection is not None:
        raise objection
