"""Azure AI Speech, at an address that is neither a region's nor a resource's."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

from tests.providers.contract import Exchange, Failure, Recorded, Reply, SpeechCase, TranscriptionCase, Usage

_KEY = ("ocp-apim-subscription-key", "{key}")
_SPOKEN = {"x-requestid": "7c4d0d5b-4a3e-4c02-9d35-0a6f6d5b7c11"}
_HEARD = {"apim-request-id": "c4a8e6f0-5d39-4b3b-8f6e-2b1f0a9d8c7e"}
_FORMATS = {
    "audio-24khz-96kbitrate-mono-mp3": "mp3",
    "ogg-24khz-16bit-mono-opus": "opus",
    "raw-24khz-16bit-mono-pcm": "pcm",
}
_NAMESPACE = "{http://www.w3.org/2001/10/synthesis}"


def _ssml(request: Recorded) -> ElementTree.Element:
    return ElementTree.fromstring(request.body)


def _voice(request: Recorded) -> ElementTree.Element:
    voices = list(_ssml(request))
    assert [voice.tag for voice in voices] == [f"{_NAMESPACE}voice"], "more than one voice, or something beside it"
    return voices[0]


def _attribute(request: Recorded, name: str) -> str | None:
    return next((element.attrib[name] for element in _ssml(request).iter() if name in element.attrib), None)


def _speed(request: Recorded) -> float | None:
    rate = _attribute(request, "rate")
    return None if rate is None else 1 + float(rate.removesuffix("%")) / 100


def _speech(request: Recorded) -> Reply:
    return Reply.audio(_FORMATS[request.header("x-microsoft-outputformat")], headers=_SPOKEN)


def _definition(request: Recorded) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.fields["definition"][0])
    return found


def _phrases(request: Recorded) -> list[str]:
    return _definition(request).get("phraseList", {}).get("phrases", [])


def _quota(text: str) -> Failure:
    reply = Reply.json({"error": {"code": "403", "message": text}}, status=403)
    return Failure(reply, 429, "upstream_rate_limited", code="insufficient_quota")


_OUT_OF_QUOTA = _quota("Out of call volume quota for Speech F0. Quota will be replenished in 2.18:20:34.")

CASES = (
    SpeechCase(
        id="azure-tts",
        model="azure/speech/azure-tts",
        spec="azure_speech.json",
        key_header=_KEY,
        exchanges=(Exchange("POST", "/cognitiveservices/v1", _speech),),
        upstream_id=_SPOKEN["x-requestid"],
        usage=Usage(characters=len("Hello there.")),
        errors=(
            Failure(Reply("Unsupported voice en-US-NobodyNeural.", 400, "text/plain"), 400, "upstream_rejected",
                    message="Unsupported voice en-US-NobodyNeural."),
            Failure(Reply("", 400, "text/plain"), 400, "upstream_rejected", message="status 400"),
            Failure(Reply("", 401, "text/plain"), 502, "upstream_credentials"),
            Failure(Reply("", 429, "text/plain", {"retry-after": "0.05"}), 429, "upstream_rate_limited", 1),
            Failure(Reply("", 502, "text/plain"), 502, "upstream_unavailable"),
            _OUT_OF_QUOTA,
        ),
        text_of=lambda request: "".join(_voice(request).itertext()),
        voice_of=lambda request: _voice(request).attrib["name"],
        speed_of=_speed,
        extra=("style", "cheerful"),
        extra_of=lambda request: _attribute(request, "style"),
    ),
    SpeechCase(
        id="azure-tts-hd",
        model="azure/speech/azure-tts-hd",
        params={"azure_ad_token": "a-token-of-entra-91c7"},
        spec="azure_speech.json",
        key_header=("authorization", "Bearer a-token-of-entra-91c7"),
        exchanges=(Exchange("POST", "/cognitiveservices/v1", _speech),),
        upstream_id=_SPOKEN["x-requestid"],
        usage=Usage(characters=len("Hello there.")),
        errors=(_OUT_OF_QUOTA,),
        text_of=lambda request: "".join(_voice(request).itertext()),
        voice_of=lambda request: _voice(request).attrib["name"],
        extra=("lang", "de-DE"),
        extra_of=lambda request: _voice(request)[0].attrib["{http://www.w3.org/XML/1998/namespace}lang"],
    ),
    TranscriptionCase(
        id="azure-stt",
        model="azure/speech/azure-stt",
        spec="azure_speech.json",
        key_header=_KEY,
        exchanges=(
            Exchange(
                "POST",
                "/speechtotext/transcriptions:transcribe",
                Reply.fixture("azure_speech/fast.json", headers=_HEARD),
            ),
        ),
        upstream_id=_HEARD["apim-request-id"],
        usage=Usage(seconds_in=3.45),
        errors=(
            Failure(
                Reply.json(
                    {"error": {"code": "InvalidArgument", "message": "The audio format is not supported.",
                               "innererror": {"code": "InvalidAudio"}}},
                    status=400,
                    headers={"x-ms-error-code": "InvalidArgument"},
                ),
                400, "upstream_rejected", code="InvalidArgument", message="The audio format is not supported.",
            ),
            Failure(
                Reply.json(
                    {"code": "InvalidRequest", "message": "The request is invalid.",
                     "innerError": {"code": "InvalidLocale", "message": "xx"}},
                    status=400,
                ),
                400, "upstream_rejected", code="InvalidRequest", message="The request is invalid.",
            ),
            Failure(Reply("", 400, headers={"x-ms-error-code": "EmptyAudioFile"}), 400, code="EmptyAudioFile"),
            Failure(
                Reply.json({"error": {"code": "404", "message": "Resource not found"}}, status=404),
                404, "upstream_not_found",
            ),
            Failure(
                Reply.json({"error": {"code": "429", "message": "Too many requests"}}, status=429,
                           headers={"retry-after": "0.05"}),
                429, "upstream_rate_limited", 1,
            ),
            _OUT_OF_QUOTA,
        ),
        text="Good afternoon. Thank you for calling.",
        language="en",
        duration=3.45,
        words=(
            ("Good", 0.16, 0.4), ("afternoon.", 0.4, 1.2), ("Thank", 1.5, 1.7), ("you", 1.7, 1.78), ("for", 1.78, 1.9),
            ("calling.", 1.9, 2.9),
        ),
        speakers=("A", "B"),
        language_of=lambda request: (_definition(request).get("locales") or [None])[0],
        languages={"de": "de-DE", "German": "de-DE", "en-GB": "en-GB"},
        prompt_of=lambda request: ", ".join(_phrases(request)),
        keywords_of=_phrases,
        extra=("profanityFilterMode", "Masked"),
        extra_of=lambda request: _definition(request)["profanityFilterMode"],
    ),
)  # fmt: skip
