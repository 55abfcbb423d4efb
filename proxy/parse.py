"""Parses what clients send into typed requests. Every error is a 400 that names the field.

Source: OpenAI's openapi.yaml, and captured requests of curl and of the SDKs of six languages.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from pydantic_core import from_json

from proxy.domain.requests import NO_OPTIONS, CallOptions, SpeechRequest, TranscriptionRequest, Upload
from proxy.domain.transcript import FORMATS
from proxy.errors import BadRequest, RequestTooLarge
from proxy.surrogates import decoded_utf8, well_formed, well_formed_escapes

#: Fields that are for this proxy, or that a deployment sets: they never go upstream.
OWN_FIELDS = frozenset({
    "api_base", "api_key", "api_type", "api_version", "base_url", "cache", "caching", "client", "cooldown_time",
    "custom_llm_provider", "default_headers", "deployment_id", "disable_fallbacks", "drop_params", "extra_body",
    "extra_headers", "extra_query", "fallbacks", "guardrails", "headers", "logger_fn", "max_file_size_mb",
    "max_retries", "metadata", "mock_response", "model_info", "model_list", "no-log", "num_retries",
    "organization", "project", "proxy_server_request", "retry_policy", "router_settings", "stream_timeout",
    "tags", "timeout", "ttl", "voices",
})  # fmt: skip
#: Characters of ``input`` and ``instructions``. The body may be larger: other fields carry voices to clone.
MAX_TEXT_LENGTH = 1_048_576
#: Of anything short: a voice, a format, a language.
MAX_NAME_LENGTH = 1000
#: Of a JSON body; each unknown one is checked before it is forwarded.
MAX_FIELDS = 1000
MAX_RETRIES = 10
MAX_MODEL_LENGTH = 256
MAX_END_USER_LENGTH = 256
MAX_TAGS = 20
MAX_GUARDRAILS = 32
MAX_TAG_LENGTH = 128
OWN_PREFIXES = ("litellm_", "proxy_")

#: Where a client names the end user besides the field ``user``; the first one counts.
_END_USER_HEADERS = (
    b"x-proxy-end-user-id", b"x-litellm-end-user-id", b"x-litellm-customer-id", b"x-openwebui-user-id",
)  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SPEECH_FIELDS = frozenset(
    {"model", "input", "voice", "instructions", "response_format", "speed", "stream_format", "user"}
)
#: Arrays of which one field may hold several items, separated by commas: no item contains one.
_ENUMERATIONS = ("include", "languages", "timestamp_granularities")
_LONG_ITEMS = ("keywords", "known_speaker_references")
_ARRAYS = (*_ENUMERATIONS, "keywords", "known_speaker_names", "known_speaker_references", "guardrails")
_FIELD_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}(?:\[[\w.-]*\])*")
_FORM_FIELDS = frozenset(
    {"file", "model", "language", "prompt", "response_format", "temperature", "stream", "chunking_strategy", "user"}
)
#: The fields that hold text, whatever a client declares their parts to be.
TEXT_FIELDS = _FORM_FIELDS - {"file"} | frozenset(_ARRAYS)
_KNOWN_FIELDS = _SPEECH_FIELDS | _FORM_FIELDS | frozenset(_ARRAYS)
#: Fields of transcriptions that speech does not have.
_OTHER_FIELDS = _KNOWN_FIELDS - _SPEECH_FIELDS - {"guardrails"}
#: ``name``, ``name[]``, ``name[0]``, ``name.0``, ``name%5B%5D``, and ``name[][]``, which is a list under ``name[]``.
_ARRAY_FIELD = re.compile(rf"({'|'.join(_ARRAYS)})(?:\.\d+|(?:(?:\[|%5[Bb])\d*(?:\]|%5[Dd])){{1,2}})?")
_STRATEGY_FIELD = re.compile(r"chunking_strategy\[([A-Za-z_]{1,40})\]")
#: As pydantic reads them, and so most servers.
BOOLEANS = {
    **dict.fromkeys(("true", "t", "1", "yes", "y", "on"), True),
    **dict.fromkeys(("false", "f", "0", "no", "n", "off", ""), False),
}
#: What JavaScript and Python make of a missing value in a form.
_ABSENT = frozenset({"", "null", "none", "undefined", "nil"})
#: OpenAI's names of formats, of speech and of transcripts.
_FORMATS = frozenset({"mp3", "opus", "aac", "flac", "wav", "pcm", *FORMATS})
#: Around the items of a list that was printed.
_LIST_MARKS = "[]\"' \t\r\n"
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")


def speech_request(body: bytes, model: str | None = None) -> SpeechRequest:
    """``model`` takes precedence over the one in the body."""
    document = json_object(body)
    if model is not None:
        document["model"] = model
    voice, voice_is_id = _voice(document.get("voice"))
    stream_format = _text(document, "stream_format")
    if stream_format not in (None, "audio", "sse"):
        raise BadRequest("stream_format must be 'audio' or 'sse'.", param="stream_format", code="invalid_value")
    return SpeechRequest(
        model=_model(document),
        input=_required_text(document, "input"),
        voice=voice,
        voice_is_id=voice_is_id,
        instructions=_bounded_text(document, "instructions"),
        response_format=_format(_short("response_format", _text(document, "response_format"))) or "mp3",
        speed=_number("speed", document.get("speed")),
        stream_format=stream_format,
        user=_text(document, "user"),
        extra={name: value for name, value in document.items() if name not in _SPEECH_FIELDS and _passes(name)},
        meaningless=() if _OTHER_FIELDS.isdisjoint(document) else _meaningless(document),
        guardrails=_guardrails(document["guardrails"]) if document.get("guardrails") else (),
    )


def transcription_request(
    fields: Iterable[tuple[str, str]], file: Upload, task: Literal["transcribe", "translate"]
) -> TranscriptionRequest:
    single: dict[str, str] = {}
    arrays: dict[str, list[str]] = {name: [] for name in _ARRAYS}
    strategy: dict[str, str] = {}
    extra: list[tuple[str, str]] = []
    for name, value in fields:
        if array := _ARRAY_FIELD.fullmatch(name):
            items = _items(array[1], value)
            if array[1] not in _LONG_ITEMS:
                items = [_short(array[1], item) or "" for item in items]
            arrays[array[1]].extend(items)
            if len(arrays[array[1]]) > MAX_FIELDS:
                raise RequestTooLarge(f"'{array[1]}' has more than {MAX_FIELDS} items.")
        elif part := _STRATEGY_FIELD.fullmatch(name):
            strategy[part[1]] = value
        elif name in _FORM_FIELDS:
            single[name] = value
        elif (bare := name.removesuffix("[]")) in _FORM_FIELDS:  # a list, of which the first item counts
            single.setdefault(bare, value)
        elif _passes(name):
            extra.append((name, value))
    return TranscriptionRequest(
        model=_model(single),
        file=file,
        task=task,
        language=_short("language", single.get("language")) or None,
        prompt=_bounded_text(single, "prompt") if _present(single.get("prompt", "")) is not None else None,
        response_format=_format(_short("response_format", single.get("response_format")) or "") or "json",
        temperature=_number("temperature", single.get("temperature")),
        user=single.get("user"),
        stream=_boolean("stream", _present(single.get("stream", "")) or ""),
        chunking_strategy=strategy or _present(single.get("chunking_strategy", "")),
        languages=tuple(dict.fromkeys(arrays["languages"])),
        keywords=tuple(arrays["keywords"]),
        include=tuple(dict.fromkeys(arrays["include"])),
        timestamp_granularities=tuple(dict.fromkeys(arrays["timestamp_granularities"])),
        known_speaker_names=tuple(arrays["known_speaker_names"]),
        known_speaker_references=tuple(arrays["known_speaker_references"]),
        extra=tuple(extra),
        guardrails=_guardrails(arrays["guardrails"]) if arrays["guardrails"] else (),
    )


def form_rows(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """The form fields that OpenAI's SDKs send for a value. Raises BadRequest for one that no form can hold."""
    match value:
        case None:
            return
        case bool():
            yield name, "true" if value else "false"
        case str():
            yield name, well_formed(value)
        case int() | float():
            yield name, str(value)
        case Mapping():
            for key, part in value.items():
                yield from form_rows(f"{name}[{key}]", part)
        case list() | tuple() | set() | frozenset():
            for part in value:
                yield from form_rows(f"{name}[]", part)
        case _:
            raise BadRequest(f"'{name}' must be text, a number or a list of these.", param=name, code="invalid_type")


def options(headers: Mapping[bytes, bytes]) -> CallOptions:
    """What the request's headers say about its routing; the ``x-litellm-`` forms mean the same."""
    timeout = _header(headers, b"timeout")
    retries = _header(headers, b"num-retries")
    guardrails = _header(headers, b"guardrails")
    if timeout is None and retries is None and guardrails is None and b"x-proxy-no-fallback" not in headers:
        return NO_OPTIONS
    seconds = _number("x-proxy-timeout", timeout)
    count = _number("x-proxy-num-retries", retries)
    if seconds is not None and seconds <= 0:
        raise BadRequest("x-proxy-timeout must be a number of seconds above 0.", param="x-proxy-timeout")
    if count is not None and (count != int(count) or not 0 <= count <= MAX_RETRIES):
        raise BadRequest(f"x-proxy-num-retries must be 0 to {MAX_RETRIES}.", param="x-proxy-num-retries")
    return CallOptions(
        timeout=seconds,
        num_retries=None if count is None else int(count),
        no_fallback=_boolean("x-proxy-no-fallback", headers.get(b"x-proxy-no-fallback", b"").decode("latin-1")),
        guardrails=_guardrails([guardrails]) if guardrails is not None else (),
    )


def end_user(request: SpeechRequest | TranscriptionRequest, headers: Mapping[bytes, bytes]) -> str | None:
    """Whom the caller serves: the field ``user``, else a header, else the field ``safety_identifier``."""
    if request.user and (user := _end_user("user", request.user)):
        return user
    for name in _END_USER_HEADERS:
        if name in headers and (user := _end_user(name.decode(), _decoded(headers[name]))):
            return user
    identifier = dict(request.extra).get("safety_identifier") if request.extra else None
    return _end_user("safety_identifier", identifier) if isinstance(identifier, str) else None


def _end_user(name: str, value: str) -> str | None:
    """Without control characters and surrounding white space; None if nothing is left."""
    text = plain(value)
    if len(text) > MAX_END_USER_LENGTH:
        raise BadRequest(
            f"'{name}' must have at most {MAX_END_USER_LENGTH} characters.", param=name, code="invalid_value"
        )
    return text or None


def tags(headers: Mapping[bytes, bytes], own: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The key's ``own`` tags and those of ``x-proxy-tags`` (or ``x-litellm-tags``), which are separated by commas."""
    header = headers.get(b"x-proxy-tags", headers.get(b"x-litellm-tags"))
    if header is None:
        return own
    names = [text for part in _decoded(header).split(",") if (text := plain(part))]
    if len(names) > MAX_TAGS or any(len(name) > MAX_TAG_LENGTH for name in names):
        raise BadRequest(
            f"x-proxy-tags must hold at most {MAX_TAGS} tags of at most {MAX_TAG_LENGTH} characters.",
            param="x-proxy-tags",
            code="invalid_value",
        )
    return tuple(dict.fromkeys((*own, *names)))


def _guardrails(value: Any) -> tuple[str, ...]:
    """A list of names; each item may hold several, separated by commas."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise BadRequest("'guardrails' must be a list of names.", param="guardrails", code="invalid_type")
    names = dict.fromkeys(text for part in value for name in part.split(",") if (text := name.strip()))
    if len(names) > MAX_GUARDRAILS:
        raise BadRequest(
            f"'guardrails' must have at most {MAX_GUARDRAILS} names.", param="guardrails", code="invalid_value"
        )
    return tuple(names)


def plain(text: str) -> str:
    """Without characters that a database, a log or a terminal may not accept."""
    return _CONTROL.sub("", text).encode("utf-8", "replace").decode().strip()


def _decoded(header: bytes) -> str:
    """UTF-8, as most clients send it, else Latin-1."""
    try:
        return header.decode()
    except UnicodeDecodeError:
        return header.decode("latin-1")


def _header(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(b"x-proxy-" + name, headers.get(b"x-litellm-" + name))
    return None if value is None else value.decode("latin-1")


def json_object(body: bytes) -> dict[str, Any]:
    """A JSON object from a client. Half a surrogate pair becomes U+FFFD. Raises BadRequest or RequestTooLarge."""
    try:
        document = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        try:
            document = from_json(_repaired(body), allow_inf_nan=False)
        except ValueError:
            message = f"We could not parse the JSON body of your request: {error}."
            raise BadRequest(message, code="invalid_json") from None
    if not isinstance(document, dict):
        raise BadRequest("The body must be a JSON object.", code="invalid_json")
    if len(document) > MAX_FIELDS:
        raise RequestTooLarge(f"The body has more than {MAX_FIELDS} fields.")
    return document


def _repaired(body: bytes) -> str:
    """Without a byte order mark and halves of surrogate pairs, be they escaped or not. Raises UnicodeDecodeError."""
    return well_formed_escapes(decoded_utf8(body).removeprefix("\ufeff"))


def _missing(name: str) -> BadRequest:
    return BadRequest(f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")


def _model(document: Mapping[str, Any]) -> str:
    model = _required_text(document, "model")
    if len(model) > MAX_MODEL_LENGTH:
        raise BadRequest(
            f"A model's name has at most {MAX_MODEL_LENGTH} characters.", param="model", code="invalid_value"
        )
    return model


def _required_text(document: Mapping[str, Any], name: str) -> str:
    value = _bounded_text(document, name)
    if not value:
        raise _missing(name)
    return value


def _bounded_text(document: Mapping[str, Any], name: str) -> str | None:
    value = _text(document, name)
    if value is not None and len(value) > MAX_TEXT_LENGTH:
        raise RequestTooLarge(f"'{name}' has {len(value)} characters; at most {MAX_TEXT_LENGTH} are accepted.")
    return value


def _text(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is None or isinstance(value, str):
        return value
    raise BadRequest(f"'{name}' must be a string.", param=name, code="invalid_type")


def _short(name: str, value: str | None) -> str | None:
    if value is not None and len(value) > MAX_NAME_LENGTH:
        raise BadRequest(
            f"'{name}' has more than {MAX_NAME_LENGTH} characters.", param=name, code="string_above_max_length"
        )
    return value


def _voice(value: Any) -> tuple[str | None, bool]:
    """The voice, and whether it was sent as ``{"id": …}``. An empty one counts as missing."""
    if isinstance(value, dict) and isinstance(value.get("id"), str) and value["id"]:
        return _short("voice", value["id"]), True
    if value is None or isinstance(value, str):
        return _short("voice", value) or None, False
    raise BadRequest("'voice' must be a string or an object with an 'id'.", param="voice", code="invalid_type")


def _number(name: str, value: Any) -> float | None:
    if value is None or (isinstance(value, str) and _present(value) is None):
        return None
    if isinstance(value, str) and _DECIMAL_COMMA.fullmatch(value.strip()):
        value = value.replace(",", ".")
    try:
        number = math.nan if isinstance(value, bool) or "_" in str(value) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise BadRequest(f"'{name}' must be a number.", param=name, code="invalid_type")
    return number


def _present(value: str) -> str | None:
    return None if value.strip().lower() in _ABSENT else value.strip()


def _meaningless(document: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in document.keys() & _OTHER_FIELDS if document[name])


def _format(value: str | None) -> str | None:
    """OpenAI's names in lower case; those of other servers as they are."""
    if value is None or value in _FORMATS:
        return value
    name = _present(value)
    return name.lower() if name is not None and name.lower() in _FORMATS else name


def _items(name: str, value: str) -> list[str]:
    """The items of an array in one field: one, or a JSON array, or for an enumeration several with commas.

    An enumeration may also be written as Python and other languages print lists: ``['word', 'segment']``, ``[word]``.
    """
    items = [value]
    is_list = value.lstrip().startswith("[")
    if (is_list or name in _ENUMERATIONS) and value.count(",") >= MAX_FIELDS:
        raise RequestTooLarge(f"'{name}' has more than {MAX_FIELDS} items.")
    if is_list:
        try:
            listed = from_json(value)
        except ValueError:
            listed = None
        if isinstance(listed, list) and all(isinstance(item, str | None) for item in listed):
            items = [item for item in listed if item is not None]
    if name not in _ENUMERATIONS:
        return [text for item in items if (text := item.strip())]
    parts = (part.strip(_LIST_MARKS) for item in items for part in item.split(","))
    items = [part for part in parts if _present(part) is not None]
    return [item.lower() for item in items] if name == "timestamp_granularities" else items


def _boolean(name: str, value: str) -> bool:
    try:
        return BOOLEANS[value.strip().lower()]
    except KeyError:
        raise BadRequest(f"'{name}' must be true or false.", param=name, code="invalid_type") from None


def _passes(name: str) -> bool:
    """Whether a field that OpenAI does not have may be forwarded to the vendor.

    Other spellings of known fields are not: some servers treat ``Model`` and ``model`` alike.
    """
    if not _FIELD_NAME.fullmatch(name):
        return False
    bare = name.partition("[")[0].lower()
    return bare not in OWN_FIELDS and bare not in _KNOWN_FIELDS and not bare.startswith(OWN_PREFIXES)
