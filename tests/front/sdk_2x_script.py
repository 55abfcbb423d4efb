"""Run by ``test_sdk_2x`` under openai 2.x: ``sdk_2x_script.py BASE_URL KEY`` prints what it saw as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import openai

WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(300)


def raised(call: Callable[[], Any]) -> list[Any]:
    try:
        call()
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code]
    except openai.APIError as error:
        return [type(error).__name__, str(error)]
    return ["nothing was raised", 0]


def main(base_url: str, key: str) -> dict[str, Any]:
    client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=30)
    stranger = openai.OpenAI(base_url=base_url, api_key="sk-wrong", max_retries=0, timeout=30)
    speech, listen = client.audio.speech, client.audio.transcriptions
    file = ("a.wav", WAV)
    seen: dict[str, Any] = {"version": openai.__version__, "speech": {}}
    for wanted in ("mp3", "opus", "aac", "flac", "wav", "pcm"):
        reply = speech.create(model="tts", input="Hi", voice="alloy", response_format=wanted)
        seen["speech"][wanted] = len(reply.content)
    with speech.with_streaming_response.create(model="tts", input="Hi", voice="alloy") as streamed:
        seen["streamed"] = sum(map(len, streamed.iter_bytes()))
    seen["json"] = listen.create(file=file, model="whisper").text
    for wanted in ("srt", "vtt", "text"):
        seen[wanted] = listen.create(file=file, model="whisper", response_format=wanted)  # type: ignore[call-overload]
    verbose = listen.create(
        file=file, model="whisper", response_format="verbose_json", timestamp_granularities=["word"]
    )
    seen["words"] = [word.word for word in verbose.words or []]
    seen["events"] = [event.type for event in listen.create(file=file, model="gpt-4o-transcribe", stream=True)]
    seen["translation"] = client.audio.translations.create(file=file, model="translator").text
    seen["too large"] = raised(lambda: listen.create(file=file, model="tiny"))
    seen["too large, 8 MB"] = raised(lambda: listen.create(file=("a.wav", bytes(8 << 20)), model="tiny"))
    seen["no model"] = raised(lambda: speech.create(model="none", input="Hi", voice="alloy"))
    seen["no key"] = raised(lambda: stranger.audio.speech.create(model="tts", input="Hi", voice="alloy"))
    seen["no voice"] = raised(lambda: speech.create(model="tts", input="Hi", voice=openai.omit))  # type: ignore[arg-type]
    seen["async"] = asyncio.run(asynchronous(base_url, key))
    return seen


async def asynchronous(base_url: str, key: str) -> int:
    async with openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
        reply = await client.audio.speech.create(model="tts", input="Hi", voice="alloy")
        return len(reply.content)


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
