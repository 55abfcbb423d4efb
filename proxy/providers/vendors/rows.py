"""Vendors and servers with OpenAI's API, each with its capabilities and quirks.

Sources, unless a row names another: the vendors' OpenAPI files (Groq 2026-06-22, Fireworks 2026-05-04, Together
2026-04-28, DeepInfra 2026-03-25, OpenRouter 2026-08-22, Mistral 2026-07-15), the SDKs openrouter 1.3.84 and mistralai
3.7.0, and the source code of vLLM, Kokoro-FastAPI, Speaches and LocalAI (2026). Groq's 200 characters and Fireworks'
1 GB are from the vendors' documentation. Not tested against the real services.

Transcripts are requested as JSON and rendered by the proxy, so that they look the same with every vendor, and because
the JSON has the duration that is billed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from pydantic_core import from_json

from proxy.audio.languages import ISO_639_1, WHISPER, WHISPER_AND_OTHERS, WHISPER_CODES, LanguageCodes
from proxy.config import Deployment
from proxy.domain.requests import Mode
from proxy.errors import UpstreamInvalid
from proxy.http.messages import Response
from proxy.providers.base import Adapter, BufferedRequest, Capabilities, VoicesFlow
from proxy.providers.vendor import Binder, Vendor
from proxy.providers.vendors import kokoro
from proxy.providers.vendors.openai import CONTAINERS, OpenAIAdapter
from proxy.providers.vendors.openai import MODELS as OPENAI_MODELS
from proxy.providers.voices import OPENAI_VOICES, Voice, Voices
from proxy.providers.wire.quirks import OPENAI_QUIRKS, Quirks
from proxy.providers.wire.streams import AudioChunks

SIX = ("mp3", "opus", "aac", "flac", "wav", "pcm")
WITH_TIMES = ("json", "text", "srt", "verbose_json", "vtt")
WITH_SPEAKERS = (*WITH_TIMES, "diarized_json")
#: OpenAI's fields that no other vendor has.
OPENAI_ONLY = frozenset(
    {"languages", "include", "known_speaker_names", "known_speaker_references", "chunking_strategy"}
)
NO_EXTRAS: frozenset[str] = frozenset()

#: Every format is requested with timestamps and the duration that is billed.
ALL_VERBOSE = dict.fromkeys(WITH_SPEAKERS, "verbose_json")
#: Timestamps are requested only if they are needed.
VERBOSE_FOR_TIMES = {**ALL_VERBOSE, "json": "json", "text": "json"}
WORDS_WITH_SPEAKERS = {"diarized_json": ("word", "segment")}

SPEECH = Capabilities(
    modes=frozenset({Mode.SPEECH}),
    sse=False,
    ignores=frozenset({"instructions"}),
    extras=NO_EXTRAS,
)
TRANSCRIPTION = Capabilities(
    modes=frozenset({Mode.TRANSCRIPTION}),
    response_formats=WITH_TIMES,
    ignores=OPENAI_ONLY | {"keywords"},
    extras=NO_EXTRAS,
)
#: Of Together (its page on transcription, which is ahead of its OpenAPI file) and OpenRouter.
AAC_TOO = ("aac", "flac", "m4a", "mp3", "mp4", "ogg", "wav", "webm")
BOTH_TASKS = frozenset({Mode.TRANSCRIPTION, Mode.TRANSLATION})


def _bound(default: Quirks, by_model: Mapping[str, Quirks] = MappingProxyType({})) -> Binder:
    def bind(deployment: Deployment, *, base: str, key: str | None, declared: Capabilities) -> Adapter:
        quirks = by_model.get(deployment.kind, default)
        adapter = ListingAdapter if quirks.voices else OpenAIAdapter
        return adapter.bound(deployment, base=base, key=key, declared=declared, quirks=quirks)

    return bind


def _others(*declared: Capabilities) -> Mapping[Mode, Capabilities]:
    """By mode; a transcription model's also for deployments that translate only."""
    return {mode: capabilities for capabilities in declared for mode in Mode if mode in capabilities.modes}


class ListingAdapter(OpenAIAdapter):
    """For vendors that list their voices."""

    def voices(self) -> VoicesFlow:
        field = self._quirks.voices_model_field
        query = {field: self._deployment.model} if field is not None else {}
        response = yield BufferedRequest(self._target.send("GET", self._target.url(self._quirks.voices, query)))
        return tuple(_voices(response, self._deployment.model))


def _voices(response: Response, model: str) -> list[Voice]:
    """``{"voices": […]}``, or ``{"data": [{"model", "voices": […]}]}``; a voice is an id or ``{"id", "name"}``."""
    try:
        document = from_json(response.content)
    except ValueError:
        document = None
    listed = document.get("voices") if isinstance(document, dict) else None
    if isinstance(document, dict) and isinstance(document.get("data"), list):
        of_model = [row for row in document["data"] if isinstance(row, dict) and row.get("model") == model]
        listed = of_model[0].get("voices") if of_model else []
    if not isinstance(listed, list):
        raise UpstreamInvalid(
            "The upstream vendor's list of voices is invalid.", detail=f"{len(response.content)} bytes"
        )
    return [voice for voice in map(_voice, listed) if voice is not None]


def _voice(row: object) -> Voice | None:
    catalogue = {voice.id: voice for voice in kokoro.CATALOGUE}
    name = row.get("name") if isinstance(row, dict) else None
    id = row.get("id", name) if isinstance(row, dict) else row
    if not isinstance(id, str) or not id:
        return None
    return catalogue.get(id) or Voice(id, name if isinstance(name, str) else None)


# -- Groq --------------------------------------------------------------------------------------------------------------


def _english(women: str, men: str) -> tuple[Voice, ...]:
    return tuple(Voice(id, id.capitalize(), "en", "female") for id in women.split()) + tuple(
        Voice(id, id.capitalize(), "en", "male") for id in men.split()
    )


GROQ_ENGLISH = Voices(
    catalogue=_english("autumn diana hannah", "austin daniel troy"),
    openai={
        "alloy": "hannah", "ash": "austin", "ballad": "daniel", "cedar": "troy", "coral": "diana", "echo": "austin",
        "fable": "daniel", "marin": "hannah", "nova": "autumn", "onyx": "troy", "sage": "diana", "shimmer": "autumn",
        "verse": "austin",
    },
)  # fmt: skip
GROQ_ARABIC = Voices(
    catalogue=(
        *(Voice(id, id.capitalize(), "ar-SA", "female") for id in ("aisha", "lulwa", "noura")),
        *(Voice(id, id.capitalize(), "ar-SA", "male") for id in ("abdullah", "fahad", "sultan")),
    ),
    openai={
        "alloy": "noura", "ash": "fahad", "ballad": "sultan", "cedar": "abdullah", "coral": "lulwa", "echo": "fahad",
        "fable": "sultan", "marin": "noura", "nova": "aisha", "onyx": "abdullah", "sage": "lulwa", "shimmer": "aisha",
        "verse": "fahad",
    },
)  # fmt: skip
#: Orpheus answers wav only, although the OpenAPI file has other formats.
GROQ_SPEECH = replace(
    SPEECH, max_characters=200, splits=True, speed=(0.5, 4.0), formats=("wav",), extras=frozenset({"sample_rate"})
)
#: On the smallest plan 25 MB.
GROQ_TRANSCRIPTION = replace(
    TRANSCRIPTION, containers=CONTAINERS, max_file_mb=100, languages=LanguageCodes(WHISPER_CODES.replace("jw", "jv"))
)

GROQ = Vendor(
    name="groq",
    base_url="https://api.groq.com/openai/v1",
    key_variables=("GROQ_API_KEY",),
    models={
        "canopylabs/orpheus-v1-english": replace(GROQ_SPEECH, voices=GROQ_ENGLISH),
        "canopylabs/orpheus-arabic-saudi": replace(GROQ_SPEECH, voices=GROQ_ARABIC),
        "whisper-large-v3": replace(GROQ_TRANSCRIPTION, modes=BOTH_TASKS),
        "whisper-large-v3-turbo": GROQ_TRANSCRIPTION,
    },
    adapter=_bound(Quirks(path="/openai/v1", transcript_formats=ALL_VERBOSE, streams=False)),
    others=_others(GROQ_SPEECH, replace(GROQ_TRANSCRIPTION, modes=BOTH_TASKS)),
)

# -- Fireworks ---------------------------------------------------------------------------------------------------------

FIREWORKS_TRANSCRIPTION = replace(
    TRANSCRIPTION,
    modes=BOTH_TASKS,
    response_formats=WITH_SPEAKERS,
    languages=WHISPER,
    max_file_mb=1024,
    extras=frozenset({"vad_model", "alignment_model", "preprocessing", "min_speakers", "max_speakers"}),
)
FIREWORKS = Vendor(
    name="fireworks_ai",
    base_url="https://audio-prod.api.fireworks.ai/v1",
    key_variables=("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"),
    models={"whisper-v3": FIREWORKS_TRANSCRIPTION, "whisper-v3-turbo": FIREWORKS_TRANSCRIPTION},
    adapter=_bound(
        Quirks(
            bases={"whisper-v3-turbo": "https://audio-turbo.api.fireworks.ai/v1"},
            transcript_formats=ALL_VERBOSE,
            granularities=WORDS_WITH_SPEAKERS,
            brackets="",
            speakers=(("diarize", "true"),),
            streams=False,
        )
    ),
    others=_others(FIREWORKS_TRANSCRIPTION),
)

# -- Together ----------------------------------------------------------------------------------------------------------

#: Eight voices of canopylabs/orpheus-3b-0.1-ft, whose README names them.
ORPHEUS = Voices(
    catalogue=_english("tara leah jess mia zoe", "leo dan zac"),
    openai={
        "alloy": "tara", "ash": "zac", "ballad": "dan", "cedar": "leo", "coral": "jess", "echo": "zac", "fable": "dan",
        "marin": "mia", "nova": "zoe", "onyx": "leo", "sage": "leah", "shimmer": "tara", "verse": "zac",
    },
)  # fmt: skip
#: wav is converted from pcm, which streams.
TOGETHER_SPEECH = replace(SPEECH, speed=(1, 1), formats=("mp3", "pcm"), extras=frozenset({"bit_rate"}))
TOGETHER_TRANSCRIPTION = replace(
    TRANSCRIPTION,
    modes=BOTH_TASKS,
    response_formats=WITH_SPEAKERS,
    languages=WHISPER_AND_OTHERS,
    containers=AAC_TOO,
    extras=frozenset({"min_speakers", "max_speakers"}),
)
TOGETHER = Vendor(
    name="together_ai",
    base_url="https://api.together.ai/v1",
    key_variables=("TOGETHER_API_KEY", "TOGETHERAI_API_KEY"),
    models={
        "hexgrad/Kokoro-82M": replace(TOGETHER_SPEECH, voices=kokoro.VOICES),
        "canopylabs/orpheus-3b-0.1-ft": replace(TOGETHER_SPEECH, voices=ORPHEUS),
        "openai/whisper-large-v3": TOGETHER_TRANSCRIPTION,
        "nvidia/parakeet-tdt-0.6b-v3": replace(TOGETHER_TRANSCRIPTION, modes=frozenset({Mode.TRANSCRIPTION})),
    },
    adapter=_bound(
        Quirks(
            format_fields={
                "pcm": {
                    "response_format": "raw",
                    "response_encoding": "pcm_s16le",
                    "sample_rate": 24_000,
                    "stream": True,
                }
            },
            speech_events=AudioChunks,
            voices="/voices",
            voices_model_field="model",
            transcript_formats=ALL_VERBOSE,
            granularities=WORDS_WITH_SPEAKERS,
            brackets="",
            unnamed_language="auto",
            speakers=(("diarize", "true"),),
            streams=False,
        )
    ),
    others=_others(TOGETHER_SPEECH, TOGETHER_TRANSCRIPTION),
)

# -- DeepInfra ---------------------------------------------------------------------------------------------------------

DEEPINFRA_SPEECH = replace(SPEECH, speed=(0.25, 4.0), formats=("mp3", "opus", "flac", "wav", "pcm"))
DEEPINFRA_TRANSCRIPTION = replace(TRANSCRIPTION, modes=BOTH_TASKS, languages=WHISPER_AND_OTHERS)
DEEPINFRA = Vendor(
    name="deepinfra",
    base_url="https://api.deepinfra.com/v1/openai",
    key_variables=("DEEPINFRA_API_KEY", "DEEPINFRA_TOKEN"),
    models={
        "hexgrad/Kokoro-82M": replace(DEEPINFRA_SPEECH, voices=kokoro.VOICES),
        "canopylabs/orpheus-3b-0.1-ft": replace(DEEPINFRA_SPEECH, voices=ORPHEUS),
        "openai/whisper-large-v3": DEEPINFRA_TRANSCRIPTION,
        "openai/whisper-large-v3-turbo": replace(TRANSCRIPTION, languages=WHISPER_AND_OTHERS),
    },
    adapter=_bound(Quirks(path="/v1/openai", transcript_formats=ALL_VERBOSE, brackets="", streams=False)),
    others=_others(DEEPINFRA_SPEECH, DEEPINFRA_TRANSCRIPTION),
)

# -- OpenRouter --------------------------------------------------------------------------------------------------------

#: Mistral's voices of Voxtral TTS 3.
VOXTRAL = Voices(
    catalogue=(
        Voice("voice_478", "Sarah", "en", "female"),
        Voice("voice_447", "Yael", "en", "female"),
        Voice("voice_485", "Eric", "en-US", "male"),
        Voice("voice_484", "Jesse", "en-US", None),
        Voice("voice_483", "Esmeralda", "es", "female"),
        Voice("voice_482", "Andrea", "it", None),
        Voice("voice_481", "Fiona", "de", "female"),
        Voice("voice_480", "Marina", "pt", "female"),
        Voice("voice_479", "Linda", "ar", "female"),
        Voice("voice_592", "Marie", "fr", "female"),
        *(
            Voice(f"en_paul_{mood}", f"Paul, {mood}", "en-US", "male")
            for mood in ("neutral", "happy", "cheerful", "excited", "confident", "sad", "frustrated", "angry")
        ),
        Voice("gb_oliver_neutral", "Oliver, neutral", "en-GB", "male"),
        Voice("gb_oliver_cheerful", "Oliver, cheerful", "en-GB", "male"),
        Voice("gb_jane_neutral", "Jane, neutral", "en-GB", "female"),
    ),
    openai={
        "alloy": "voice_484", "ash": "voice_485", "ballad": "gb_oliver_neutral", "cedar": "en_paul_confident",
        "coral": "voice_447", "echo": "en_paul_neutral", "fable": "gb_oliver_cheerful", "marin": "voice_478",
        "nova": "gb_jane_neutral", "onyx": "en_paul_sad", "sage": "voice_481", "shimmer": "voice_592",
        "verse": "en_paul_cheerful",
    },
)  # fmt: skip
#: OpenRouter does not document which models support a speed or instructions: both are passed on.
OPENROUTER_SPEECH = replace(SPEECH, formats=("mp3", "pcm"), ignores=frozenset())
OPENROUTER_OPENAI = replace(
    OPENROUTER_SPEECH,
    speed=(0.25, 4.0),
    max_characters=4096,
    max_tokens=2000,
    splits=True,
    voices=OPENAI_VOICES,
    shutdown_date="2027-01-06",
)
#: Larger files need another kind of request, with the audio as base64 in JSON.
OPENROUTER_TRANSCRIPTION = replace(
    TRANSCRIPTION, containers=AAC_TOO, max_file_mb=25, languages=ISO_639_1, ignores=OPENAI_ONLY | {"prompt"}
)
OPENROUTER = Vendor(
    name="openrouter",
    base_url="https://openrouter.ai/api/v1",
    key_variables=("OPENROUTER_API_KEY",),
    models={
        "openai/gpt-4o-mini-tts": OPENROUTER_OPENAI,
        "openai/gpt-4o-mini-tts-2025-12-15": OPENROUTER_OPENAI,
        "mistralai/voxtral-mini-tts-3-0": replace(
            OPENROUTER_SPEECH, speed=(1, 1), voices=VOXTRAL, ignores=frozenset({"instructions"})
        ),
        "openai/whisper-large-v3": OPENROUTER_TRANSCRIPTION,
    },
    adapter=_bound(Quirks(path="/api/v1", transcript_formats=VERBOSE_FOR_TIMES, keywords="keyterms", streams=False)),
    others=_others(OPENROUTER_SPEECH, OPENROUTER_TRANSCRIPTION),
)

# -- Mistral -----------------------------------------------------------------------------------------------------------

_SEGMENTS = ("segment",)
MISTRAL_TRANSCRIPTION = replace(
    TRANSCRIPTION,
    response_formats=WITH_SPEAKERS,
    streams=True,
    languages=ISO_639_1,
    ignores=OPENAI_ONLY | {"prompt"},
)
#: There is no ``response_format``. Voxtral 3 refuses timestamps of words; earlier models return them as segments.
MISTRAL_QUIRKS = Quirks(
    transcript_formats=dict.fromkeys(WITH_SPEAKERS),
    granularities={"srt": _SEGMENTS, "vtt": _SEGMENTS, "verbose_json": _SEGMENTS, "diarized_json": _SEGMENTS},
    words=False,
    brackets="",
    keywords="context_bias",
    single_words=True,
    speakers=(("diarize", "true"),),
)
MISTRAL_BEFORE_3 = replace(MISTRAL_QUIRKS, language_excludes_times=True)
MISTRAL = Vendor(
    name="mistral",
    base_url="https://api.mistral.ai/v1",
    key_variables=("MISTRAL_API_KEY",),
    models={
        "voxtral-mini-transcribe-3-0": MISTRAL_TRANSCRIPTION,
        "voxtral-small-transcribe-3-0": MISTRAL_TRANSCRIPTION,
        "voxtral-mini-2602": MISTRAL_TRANSCRIPTION,
        "voxtral-mini-latest": MISTRAL_TRANSCRIPTION,
    },
    adapter=_bound(MISTRAL_QUIRKS, {"voxtral-mini-2602": MISTRAL_BEFORE_3, "voxtral-mini-latest": MISTRAL_BEFORE_3}),
    others=_others(MISTRAL_TRANSCRIPTION),
)

# -- self-hosted servers -----------------------------------------------------------------------------------------------

SELF_HOSTED_SPEECH = replace(SPEECH, ignores=frozenset(), extras=None)
SELF_HOSTED_WHISPER = replace(
    TRANSCRIPTION, modes=BOTH_TASKS, streams=True, languages=WHISPER_AND_OTHERS, ignores=OPENAI_ONLY, extras=None
)


def _self_hosted(
    name: str, quirks: Quirks, *declared: Capabilities, models: Mapping[str, Capabilities] | None = None
) -> Vendor:
    """A server at ``api_base``, with the deployment's key if it has one."""
    return Vendor(
        name=name,
        base_url=None,
        key_variables=(),
        models=models or {},
        adapter=_bound(quirks),
        others=_others(*declared),
        base_models=OPENAI_MODELS,
    )


HOSTED_VLLM = _self_hosted(
    "hosted_vllm",
    Quirks(
        transcript_formats={name: format for name, format in VERBOSE_FOR_TIMES.items() if name != "diarized_json"},
        keywords="hotwords",
        joined=", ",
    ),
    SELF_HOSTED_SPEECH,
    SELF_HOSTED_WHISPER,
)

SPEACHES_SPEECH = replace(
    SELF_HOSTED_SPEECH, speed=(0.25, 4.0), formats=SIX, sse=True, ignores=frozenset({"instructions"})
)
SPEACHES = replace(
    _self_hosted(
        "speaches",
        Quirks(keywords="hotwords", joined=", "),
        SPEACHES_SPEECH,
        SELF_HOSTED_WHISPER,
    ),
    find=lambda model: replace(SPEACHES_SPEECH, voices=kokoro.VOICES) if "kokoro" in model.lower() else None,
)

KOKORO_SPEECH = replace(
    SELF_HOSTED_SPEECH, speed=(0.25, 4.0), formats=SIX, voices=kokoro.VOICES, ignores=frozenset({"instructions"})
)
#: Kokoro-FastAPI; its own mapping lacks four of OpenAI's voices.
KOKORO = replace(_self_hosted("kokoro", Quirks(voices="/audio/voices")), find=lambda model: KOKORO_SPEECH)

LOCALAI = _self_hosted(
    "localai",
    Quirks(translates=("translate", "true")),
    replace(SELF_HOSTED_SPEECH, speed=(0.25, 4.0)),
    replace(SELF_HOSTED_WHISPER, ignores=OPENAI_ONLY | {"keywords"}),
)

#: Any other server; nothing is known about it.
OPENAI_COMPATIBLE = _self_hosted("openai_compatible", OPENAI_QUIRKS)

ROWS = (
    GROQ, FIREWORKS, TOGETHER, DEEPINFRA, OPENROUTER, MISTRAL, HOSTED_VLLM, SPEACHES, KOKORO, LOCALAI,
    OPENAI_COMPATIBLE,
)  # fmt: skip
