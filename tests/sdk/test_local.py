"""The local engines through the Python functions: no server, no key, no network."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec

import pytest

from proxy import aspeech, atranscription, speech, transcription
from proxy.audio import formats
from proxy.errors import UnsupportedValue

SENTENCE = "the quick brown fox jumped over the lazy dogs"

pytestmark = [
    pytest.mark.skipif(find_spec("espeakng_loader") is None, reason="espeakng-loader is not installed"),
    pytest.mark.skipif(find_spec("pocketsphinx") is None, reason="pocketsphinx is not installed"),
]


def heard(text: str) -> int:
    """How many of the sentence's eight words came back."""
    return len(set(text.lower().replace(".", "").split()) & set(SENTENCE.split()))


def test_a_sentence_spoken_and_heard_again() -> None:
    spoken = speech("local/espeak-ng", SENTENCE, "en-us+f5", response_format="wav")
    assert formats.sniff(spoken.content) == "wav"
    found = transcription(
        "local/pocketsphinx", spoken.content, response_format="verbose_json", timestamp_granularities=["word"]
    )
    assert heard(found.text) >= 5
    assert found.words[0].start < found.words[-1].end <= found.duration
    assert found.usage is not None
    assert found.usage.seconds >= 2


def test_in_a_loop_and_as_a_stream() -> None:
    async def main() -> tuple[str, str]:
        async with await aspeech("local/espeak-ng", SENTENCE, "alloy", response_format="mp3", stream=True) as answer:
            content = await answer.aread()
        assert formats.sniff(content) == "mp3"
        srt = await atranscription("local/pocketsphinx", ("a.mp3", content), response_format="srt")
        return srt, (await atranscription("local/pocketsphinx", content)).text

    srt, text = asyncio.run(main())
    assert srt.startswith("1\n00:00:0")
    assert text


def test_leaving_a_stream_early_ends_the_engine() -> None:
    with speech("local/espeak-ng", " ".join([SENTENCE] * 200), "alloy", stream=True) as answer:
        assert next(answer.iter_bytes())


def test_errors_of_an_engine_are_the_same_tree() -> None:
    with pytest.raises(UnsupportedValue) as caught:
        transcription("local/pocketsphinx", b"RIFF", response_format="diarized_json")
    assert caught.value.param == "response_format"
    with pytest.raises(UnsupportedValue, match="takes: en") as refused:
        transcription("local/pocketsphinx", b"RIFF", language="de")
    assert refused.value.param == "language"
