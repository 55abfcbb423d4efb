"""The functions that callers see. They translate arguments; what a call does is defined in `proxy.attempts`.

Each function has two forms: ``a…`` runs in the caller's event loop; the other one blocks, whether or not an event loop
is running, and uses a loop of its own in a thread for as long as the call lasts.

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
from dataclasses import fields, replace
from functools import partial
from typing import Any, Literal, TypedDict, TypeVar, Unpack, overload

import httpx
from anyio.from_thread import start_blocking_portal

from proxy import parse
from proxy.attempts import AttemptRunner
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.domain.results import ForeignDocument, RawDocument
from proxy.domain.transcript import Transcript
from proxy.errors import BadRequest, UpstreamInvalid
from proxy.matching import (
    BoundDeployment,
    Rejection,
    SpeechPlan,
    TranscriptionPlan,
    length_matters,
    match_speech,
    match_transcription,
)
from proxy.render.body import RenderedBody
from proxy.render.speech import render_speech
from proxy.render.transcripts import TEXT_FORMATS, as_document, as_text, complete
from proxy.sdk import target
from proxy.sdk.answers import AsyncStream, BlockingStream, Speech, chunks_of, headers_of
from proxy.sdk.clients import Client
from proxy.sdk.costs import CostTracker
from proxy.sdk.documents import Text, Transcription
from proxy.sdk.files import File, opened
from proxy.sdk.session import open_runner, repeated
from proxy.sdk.target import Settings

R = TypeVar("R")
P = TypeVar("P", SpeechPlan, TranscriptionPlan)

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
    """Returns the complete speech; its ``cost`` is in USD.

    With ``stream=True`` it is returned as it arrives: ``async with await aspeech(…, stream=True) as answer`` and
    ``async for chunk in answer.aiter_bytes()``.

    Options: ``response_format`` (mp3, opus, aac, flac, wav, pcm), ``speed``, ``instructions``, ``stream_format``, and
    those of the module.
    """
    settings, further = _divided(options)
    request = _speech_request({**further, "model": model, "input": input, "voice": voice})
    costs = CostTracker(target.bind(model, Mode.SPEECH, settings))
    plan = _accepted(match_speech(request, costs.bound))
    async with AsyncExitStack() as stack:
        runner = await open_runner(stack, costs.bound, settings.client)
        if not stream:
            return await repeated(partial(_speak, runner, plan, request, costs), _retries(costs.bound))
        open_stream = partial(_open_speech, runner, plan, request, costs, stack)
        body, headers = await repeated(open_stream, _retries(costs.bound))
        return AsyncStream(body, headers, costs, stack.pop_all())


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
    call = partial(aspeech, model, input, voice, stream=stream, **options)
    return BlockingStream.open(call) if stream else _blocking(call)


async def _open_speech(
    runner: AttemptRunner, plan: SpeechPlan, request: SpeechRequest, costs: CostTracker, stack: AsyncExitStack
) -> tuple[RenderedBody, httpx.Headers]:
    """``stack`` closes the attempt."""
    attempt = runner.attempt(plan, costs.call)
    result = await stack.enter_async_context(attempt)
    body = render_speech(result, request.stream_format)
    stack.push_async_callback(body.aclose)
    return body, headers_of(body, result.headers, attempt.record)


async def _speak(runner: AttemptRunner, plan: SpeechPlan, request: SpeechRequest, costs: CostTracker) -> Speech:
    async with AsyncExitStack() as stack:
        body, headers = await _open_speech(runner, plan, request, costs, stack)
        content = b"".join([chunk async for chunk in chunks_of(body)])
        return Speech(body.content_type, headers, content, costs)


def _speech_request(document: Mapping[str, Any]) -> SpeechRequest:
    """Parsed and checked as an HTTP request is."""
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
    """Returns an object with ``text``, ``usage`` and the members of the format, or a string for text, srt and vtt.

    Both have ``cost``, in USD; None if it is not known.

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
    arguments = {**options, "response_format": response_format}
    return _blocking(partial(_transcript, model, file, "transcribe", arguments))


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
    """As `atranscription`, translated into English. Options: ``prompt``, ``temperature`` and those of the module."""
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
    arguments = {**options, "response_format": response_format}
    return _blocking(partial(_transcript, model, file, "translate", arguments))


async def _transcript(model: str, file: File, task: Task, options: Mapping[str, Any]) -> Transcription | str:
    settings, further = _divided(options)
    if further.pop("stream", None):
        raise BadRequest(
            "This function does not stream transcripts. Leave 'stream' out, or send a request to a running proxy: "
            f"POST /v1/audio/{'transcriptions' if task == 'transcribe' else 'translations'} with stream=true.",
            param="stream",
            code="unsupported_value",
        )
    form = [("model", model), *(row for name, value in further.items() for row in _form_rows(name, value))]
    async with AsyncExitStack() as stack:
        request = parse.transcription_request(form, await stack.enter_async_context(opened(file)), task)
        costs = CostTracker(target.bind(model, _MODES[task], settings))
        runner = await open_runner(stack, costs.bound, settings.client)
        if length_matters([costs.bound], request):
            request = replace(request, seconds=await runner.seconds_of(request.file))
        plan = _accepted(match_transcription(request, costs.bound))
        return await repeated(partial(_transcribe, runner, plan, request, costs), _retries(costs.bound))


async def _transcribe(
    runner: AttemptRunner, plan: TranscriptionPlan, request: TranscriptionRequest, costs: CostTracker
) -> Transcription | str:
    async with runner.attempt(plan, costs.call) as result:
        content = result.content
    if isinstance(content, Transcript):
        if request.response_format in TEXT_FORMATS:
            return Text(as_text(content, request.response_format), costs.cost)
        members = as_document(content, request.response_format, request.timestamp_granularities)
        return Transcription(members, costs.cost)
    if isinstance(content, ForeignDocument):
        formats = request.response_format, request.timestamp_granularities
        return Transcription(json.loads(complete(content.members, content.transcript, *formats)), costs.cost)
    if not isinstance(content, RawDocument):
        raise UpstreamInvalid("The upstream vendor sent events instead of a transcript.")
    if content.content_type.startswith("application/json"):
        return Transcription(json.loads(content.content), costs.cost)
    return Text(content.content.decode("utf-8", "replace"), costs.cost)


def _form_rows(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """The form fields that OpenAI's SDKs send for an argument."""
    match value:
        case None:
            return
        case bool():
            yield name, "true" if value else "false"
        case str() | int() | float():
            text = str(value)
            if text.encode("utf-8", "replace").decode() != text:
                raise BadRequest(f"'{name}' has characters that UTF-8 cannot encode.", param=name, code="invalid_type")
            yield name, text
        case Mapping():
            for key, part in value.items():
                yield from _form_rows(f"{name}[{key}]", part)
        case list() | tuple() | set() | frozenset():
            for part in value:
                yield from _form_rows(f"{name}[]", part)
        case _:
            raise BadRequest(f"'{name}' must be text, a number or a list of these.", param=name, code="invalid_type")


# -- both --------------------------------------------------------------------------------------------------------------


def _divided(options: Mapping[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """How the model is reached, and the fields for the vendor. Arguments override ``optional_params``."""
    further = {**(options.get("optional_params") or {}), **options}
    further.pop("optional_params", None)
    settings = Settings(**{name: further.pop(name) for name in _SETTINGS & options.keys()})
    for name in further:
        if name in parse.OWN_FIELDS or name.startswith(parse.OWN_PREFIXES):
            raise BadRequest(f"'{name}' cannot be passed to a vendor.", param=name, code="unknown_parameter")
    return settings, further


def _refuse_async_client(options: Mapping[str, Any]) -> None:
    if isinstance(options.get("client"), httpx.AsyncClient):
        raise BadRequest(
            "An httpx.AsyncClient belongs to one event loop: pass an httpx.Client, or await the function whose name "
            "begins with 'a'.",
            param="client",
        )


def _blocking(call: Callable[[], Awaitable[R]]) -> R:
    """Runs the call in an event loop in a thread, since one may be running in the caller's own thread."""
    with start_blocking_portal(name="proxy-call") as portal:
        return portal.call(call)


def _retries(bound: BoundDeployment) -> int:
    return bound.deployment.max_retries or 0


def _accepted(plan: P | Rejection) -> P:
    if isinstance(plan, Rejection):
        raise plan.error
    return plan
