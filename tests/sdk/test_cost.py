"""``.cost`` on what the functions return."""

from __future__ import annotations

import asyncio
import copy
import pickle
from decimal import Decimal

import pytest

from proxy import ProxyError, Transcription, aspeech, speech, transcription
from tests.fakes import answers
from tests.fakes.samples import wav
from tests.fakes.upstream import KEY, Upstream

HELLO = "Hello there."
#: 12 characters at $4 a million.
KOKORO, COST = "together_ai/hexgrad/Kokoro-82M", Decimal("0.000048")
WHISPER = "groq/whisper-large-v3-turbo"


def test_speech_that_is_read_as_a_whole(upstream: Upstream) -> None:
    answer = speech(KOKORO, HELLO, "af_heart", api_base=upstream.url, api_key=KEY)
    assert answer.cost == COST


def test_speech_as_a_stream_costs_what_is_known_at_its_end(upstream: Upstream) -> None:
    with speech(KOKORO, HELLO, "af_heart", api_base=upstream.url, api_key=KEY, stream=True) as answer:
        assert answer.cost is None
        answer.read()
        assert answer.cost == COST

    async def one() -> Decimal | None:
        async with await aspeech(KOKORO, HELLO, "af_heart", api_base=upstream.url, api_key=KEY, stream=True) as stream:
            await anext(stream.aiter_bytes())
        return stream.cost

    assert asyncio.run(one()) == COST


@pytest.mark.parametrize("format", ["json", "verbose_json", "text", "srt", "vtt"])
def test_a_transcript_in_every_format(upstream: Upstream, format: str) -> None:
    found = transcription(WHISPER, wav(), response_format=format, api_base=upstream.url, api_key=KEY)
    # Ten seconds at least, at $0.04 an hour.
    assert found.cost == Decimal("0.0001111111")
    if isinstance(found, Transcription):
        assert "cost" not in found.model_dump()
    else:
        assert isinstance(found, str)
        assert pickle.loads(pickle.dumps(found)) == copy.copy(found) == str(found)


def test_attempts_that_were_refused_cost_nothing(upstream: Upstream) -> None:
    upstream.behave("hexgrad/Kokoro-82M", answer=answers.ERRORS[500])
    with pytest.raises(ProxyError):
        speech(KOKORO, HELLO, "af_heart", api_base=upstream.url, api_key=KEY, max_retries=0)


def test_a_server_of_ones_own_costs_nobody_knows_what(openai: Upstream) -> None:
    assert speech("tts-1", HELLO, "alloy").cost is None
