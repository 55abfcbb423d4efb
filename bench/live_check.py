"""Try real vendors, with the keys that are in the environment: a small contract, a table of times and costs.

    python bench/live_check.py elevenlabs/eleven_flash_v2_5 deepgram/nova-3

It costs money, little as it is: nothing is asked of a model that is not named. A speech model speaks one sentence in
two formats; a transcription model hears that sentence (or ``--audio FILE``) as json, verbose_json and srt, as far as it
declares them; and each is asked for one thing that must fail. Status 1 if anything differs from what is expected; a
model without a key is left out.

The same code is called as for the proxy's callers, without a server: adapter, upstream, transcoding, prices.
"""

from __future__ import annotations

import argparse
import asyncio
import difflib
import io
import json
import re
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import av

from proxy.accounting.cost import Prices, bill
from proxy.attempts import AttemptRunner
from proxy.domain.call import Call
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.errors import ProxyError, Unauthorized, UpstreamError
from proxy.matching import (
    BoundDeployment,
    Rejection,
    SpeechPlan,
    TranscriptionPlan,
    match_speech,
    match_transcription,
)
from proxy.providers.registry import VENDORS, infer_mode
from proxy.render.transcription import render_transcription
from proxy.sdk import target
from proxy.sdk.files import opened
from proxy.sdk.session import open_runner
from proxy.sdk.target import Settings

P = TypeVar("P", SpeechPlan, TranscriptionPlan)
Ask = Callable[[Call], Awaitable[bytes]]

SENTENCE = "The quick brown fox jumped over the lazy dogs."
SPEECH_FORMATS = ("mp3", "wav")
TRANSCRIPT_FORMATS = ("json", "verbose_json", "srt")
NO_VOICE = "no-such-voice-0"
#: Of the sentence, as letters; another spelling of a word is no failure.
ENOUGH_ALIKE = 0.8
MIN_LENGTH, MAX_LENGTH = 0.8, 15.0
TIMEOUT = 120.0
COLUMNS = ("model", "check", "result", "first ms", "all ms", "cost USD", "upstream id", "what it said")


@dataclass
class Outcome:
    """One row of the table."""

    model: str
    check: str
    wrong: str = ""
    said: str = ""
    skipped: bool = False
    call: Call | None = None
    seconds: float = 0.0
    cost: Decimal | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        attempt = self.call.attempts[-1] if self.call is not None and self.call.attempts else None
        first = attempt.seconds if attempt is not None else None
        return (
            self.model,
            self.check,
            "skipped" if self.skipped else f"DIFFERS: {self.wrong}" if self.wrong else "ok",
            f"{first * 1000:.0f}" if first is not None else "",
            f"{self.seconds * 1000:.0f}",
            "" if self.cost is None else f"{self.cost:.6f}",
            attempt.upstream_id if attempt is not None else "",
            self.said[:100],
        )


@dataclass
class Checks:
    """All that is asked of one model."""

    model: str
    settings: Settings
    outcomes: list[Outcome] = field(default_factory=list)

    async def speak(self, voice: str) -> bytes | None:
        """The wav, where it came."""
        bound = target.bind(self.model, Mode.SPEECH, self.settings)
        spoken = None
        async with AsyncExitStack() as stack:
            runner = await open_runner(stack, bound, None)
            for wanted in SPEECH_FORMATS:
                request = SpeechRequest(self.model, SENTENCE, voice, response_format=wanted)
                audio = await self._ask(f"speech {wanted}", bound, _speaking(runner, bound, request), _audio)
                spoken = audio if wanted == "wav" else spoken
            request = SpeechRequest(self.model, SENTENCE, NO_VOICE)
            await self._refused("a voice that is none", bound, _speaking(runner, bound, request))
        return spoken

    async def hear(self, audio: bytes, *, is_sentence: bool) -> None:
        bound = target.bind(self.model, Mode.TRANSCRIPTION, self.settings)
        able = bound.adapter.capabilities.response_formats
        async with AsyncExitStack() as stack:
            runner = await open_runner(stack, bound, None)
            for wanted in [name for name in TRANSCRIPT_FORMATS if able is None or name in able]:
                request = await _transcription(stack, self.model, audio, wanted)
                judge = _transcript(wanted, is_sentence)
                await self._ask(wanted, bound, _hearing(runner, bound, request), judge)
            noise = await _transcription(stack, self.model, b"This is no audio. " * 200, "json")
            await self._refused("a file that is none", bound, _hearing(runner, bound, noise))

    async def _ask(
        self,
        check: str,
        bound: BoundDeployment,
        ask: Ask,
        judge: Callable[[bytes], tuple[str, str]],
    ) -> bytes | None:
        """One call, read to its end; ``judge`` says what is wrong with it, and what it said."""
        outcome = self._begun(check, bound)
        began, body = perf_counter(), None
        try:
            body = await ask(_call(outcome))
            outcome.wrong, outcome.said = judge(body)
        except ProxyError as error:
            outcome.wrong = f"{error.status} {error.kind}: {error.message} {error.detail}"
        outcome.seconds = perf_counter() - began
        mode = bound.deployment.mode
        if body is not None and mode is not None:
            outcome.cost = bill(Prices().of(bound.deployment), _call(outcome).attempts[-1].usage, mode).amount
        return body

    async def _refused(self, check: str, bound: BoundDeployment, ask: Ask) -> None:
        """The vendor's own refusal, read as such: neither an answer nor anything of the proxy's."""
        outcome = self._begun(check, bound)
        began = perf_counter()
        try:
            await ask(_call(outcome))
            outcome.wrong = "it was not refused"
        except UpstreamError as error:
            outcome.said = f"{error.status} {error.kind}: {error.message}"
            outcome.wrong = "" if 400 <= error.status < 500 else f"refused as {error.status}"
        except ProxyError as error:
            outcome.said = f"{error.status} {error.kind}: {error.message}"
        outcome.seconds = perf_counter() - began

    def _begun(self, check: str, bound: BoundDeployment) -> Outcome:
        self.outcomes.append(Outcome(self.model, check, call=Call("", check, perf_counter())))
        return self.outcomes[-1]


def _call(outcome: Outcome) -> Call:
    assert outcome.call is not None
    return outcome.call


def _accepted(plan: P | Rejection) -> P:
    if isinstance(plan, Rejection):
        raise plan.error
    return plan


def _speaking(runner: AttemptRunner, bound: BoundDeployment, request: SpeechRequest) -> Ask:
    async def ask(call: Call) -> bytes:
        async with runner.attempt(_accepted(match_speech(request, bound)), call) as result:
            return b"".join([result.first, *[chunk async for chunk in result.rest]])

    return ask


def _hearing(runner: AttemptRunner, bound: BoundDeployment, request: TranscriptionRequest) -> Ask:
    async def ask(call: Call) -> bytes:
        async with runner.attempt(_accepted(match_transcription(request, bound)), call) as result:
            return render_transcription(result, request).first

    return ask


async def _transcription(stack: AsyncExitStack, model: str, audio: bytes, wanted: str) -> TranscriptionRequest:
    file = await stack.enter_async_context(opened(("speech.wav", audio)))
    return TranscriptionRequest(model, file, response_format=wanted)


# -- what is right -----------------------------------------------------------------------------------------------------


def _audio(body: bytes) -> tuple[str, str]:
    try:
        with av.open(io.BytesIO(body)) as container:
            seconds = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    except av.FFmpegError as error:
        return f"no audio: {error}", repr(body[:40])
    said = f"{seconds:.1f} s, {len(body)} bytes"
    return ("" if MIN_LENGTH < seconds < MAX_LENGTH else "an odd length"), said


def _transcript(wanted: str, is_sentence: bool) -> Callable[[bytes], tuple[str, str]]:
    def judge(body: bytes) -> tuple[str, str]:
        text = body.decode()
        if wanted != "srt":
            document = json.loads(text)
            text = document["text"]
            if wanted == "verbose_json" and not document["segments"]:
                return "no segments", text
        elif not re.match(r"1\n\d\d:\d\d:\d\d,\d{3} --> ", text):
            return "no subtitles", text
        else:
            text = " ".join(line for line in text.splitlines() if not re.match(r"\d+$|\d\d:\d\d", line))
        alike = difflib.SequenceMatcher(None, _letters(text), _letters(SENTENCE)).ratio()
        return ("other words" if is_sentence and alike < ENOUGH_ALIKE else ""), text

    return judge


def _letters(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.lower())


# -- the command -------------------------------------------------------------------------------------------------------


def mode_of(model: str) -> Mode:
    """Raises ValueError where neither the vendor's table nor the name tells."""
    vendor = max((name for name in VENDORS if model.startswith(f"{name}/")), key=len, default="openai")
    mode = infer_mode(vendor, model.removeprefix(f"{vendor}/"))
    if mode is None:
        raise ValueError(f"{model}: say what it does, with --speech or --transcription")
    return mode


async def check(
    models: list[str], modes: dict[str, Mode], voice: str, audio: bytes | None, base: str | None
) -> list[Outcome]:
    """Speech first: what it says is what the others hear."""
    outcomes: list[Outcome] = []
    spoken = audio
    for model in sorted(models, key=lambda name: modes[name] != Mode.SPEECH):
        checks = Checks(model, Settings(timeout=TIMEOUT, max_retries=0, api_base=base))
        try:
            if modes[model] == Mode.SPEECH:
                spoken = await checks.speak(voice) or spoken
            elif spoken is None:
                checks.outcomes.append(Outcome(model, "all", "nothing to hear: name a speech model first, or --audio"))
            else:
                await checks.hear(spoken, is_sentence=spoken is not audio)
        except Unauthorized as error:
            checks.outcomes.append(Outcome(model, "all", said=error.message, skipped=True))
        except ProxyError as error:
            checks.outcomes.append(Outcome(model, "all", f"{error.kind}: {error.message}"))
        outcomes += checks.outcomes
    return outcomes


def table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Try real vendors. It costs money, little as it is.")
    parser.add_argument("models", nargs="+", metavar="MODEL", help="vendor/model; there is no default")
    parser.add_argument("--audio", type=Path, help="hear this file rather than what the first speech model said")
    parser.add_argument("--voice", default="alloy")
    parser.add_argument("--api-base", help="of all of the models")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--speech", action="store_true", help="all of the models speak")
    kind.add_argument("--transcription", action="store_true", help="all of the models transcribe")
    given = parser.parse_args(arguments)
    forced = Mode.SPEECH if given.speech else Mode.TRANSCRIPTION if given.transcription else None
    try:
        modes = {model: forced or mode_of(model) for model in given.models}
    except (ValueError, ProxyError) as error:
        parser.error(str(error))
    audio = given.audio.read_bytes() if given.audio is not None else None
    outcomes = asyncio.run(check(given.models, modes, given.voice, audio, given.api_base))
    print(table([COLUMNS, *(outcome.cells for outcome in outcomes)]))
    known = [outcome.cost for outcome in outcomes if outcome.cost is not None]
    print(f"\n{len(known)} calls with a known price: {sum(known, Decimal(0)):.6f} USD.")
    return 1 if any(outcome.wrong for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
