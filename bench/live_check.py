"""Tests real vendors, with the keys in the environment, and prints a table of results, times and costs.

    python bench/live_check.py elevenlabs/eleven_flash_v2_5 deepgram/nova-3

This costs a little money. Only the models on the command line are called. A speech model speaks one sentence in two
formats. A transcription model transcribes that sentence (or ``--audio FILE``) as json, verbose_json and srt, as far as
it declares them. Each also gets one request that must fail. The exit status is 1 if any result is not as expected;
models without a key are skipped.

It runs the same code as the proxy, without a server: adapter, upstream, conversion, prices.
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
#: Returns the problem with an answer, or an empty string, and the details.
Evaluate = Callable[[bytes], tuple[str, str]]

SENTENCE = "The quick brown fox jumped over the lazy dogs."
SPEECH_FORMATS = ("mp3", "wav")
TRANSCRIPT_FORMATS = ("json", "verbose_json", "srt")
NO_VOICE = "no-such-voice-0"
#: Minimum similarity to the sentence, by letters; another spelling of a word is not a failure.
MIN_SIMILARITY = 0.8
MIN_LENGTH, MAX_LENGTH = 0.8, 15.0
TIMEOUT = 120.0
COLUMNS = ("model", "check", "result", "first ms", "all ms", "cost USD", "upstream id", "details")


@dataclass
class Outcome:
    """One row of the table."""

    model: str
    check: str
    problem: str = ""
    details: str = ""
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
            "skipped" if self.skipped else f"DIFFERS: {self.problem}" if self.problem else "ok",
            f"{first * 1000:.0f}" if first is not None else "",
            f"{self.seconds * 1000:.0f}",
            "" if self.cost is None else f"{self.cost:.6f}",
            attempt.upstream_id if attempt is not None else "",
            self.details[:100],
        )


@dataclass
class Checks:
    """All checks of one model."""

    model: str
    settings: Settings
    outcomes: list[Outcome] = field(default_factory=list)

    async def speak(self, voice: str) -> bytes | None:
        """Returns the speech as wav, or None if that check failed."""
        bound = target.bind(self.model, Mode.SPEECH, self.settings)
        spoken = None
        async with AsyncExitStack() as stack:
            runner = await open_runner(stack, bound, None)
            for response_format in SPEECH_FORMATS:
                request = SpeechRequest(self.model, SENTENCE, voice, response_format=response_format)
                audio = await self._ask(f"speech {response_format}", bound, _speaking(runner, bound, request), _audio)
                spoken = audio if response_format == "wav" else spoken
            request = SpeechRequest(self.model, SENTENCE, NO_VOICE)
            await self._refused("unknown voice", bound, _speaking(runner, bound, request))
        return spoken

    async def transcribe(self, audio: bytes, *, is_sentence: bool) -> None:
        bound = target.bind(self.model, Mode.TRANSCRIPTION, self.settings)
        supported = bound.adapter.capabilities.response_formats
        async with AsyncExitStack() as stack:
            runner = await open_runner(stack, bound, None)
            for name in [name for name in TRANSCRIPT_FORMATS if supported is None or name in supported]:
                request = await _transcription(stack, self.model, audio, name)
                await self._ask(name, bound, _transcribing(runner, bound, request), _transcript(name, is_sentence))
            noise = await _transcription(stack, self.model, b"\0\x07\xc3This is no audio." * 200, "json")
            await self._refused("not an audio file", bound, _transcribing(runner, bound, noise))

    async def _ask(
        self,
        check: str,
        bound: BoundDeployment,
        ask: Ask,
        evaluate: Evaluate,
    ) -> bytes | None:
        """Makes one call, and evaluates its answer."""
        outcome = self._new_outcome(check)
        began, body = perf_counter(), None
        try:
            body = await ask(_call(outcome))
            outcome.problem, outcome.details = evaluate(body)
        except ProxyError as error:
            outcome.problem = f"{error.status} {error.kind}: {error.message} {error.detail}"
        outcome.seconds = perf_counter() - began
        mode = bound.deployment.mode
        if body is not None and mode is not None:
            outcome.cost = bill(Prices().of(bound.deployment), _call(outcome).attempts[-1].usage, mode).amount
        return body

    async def _refused(self, check: str, bound: BoundDeployment, ask: Ask) -> None:
        """Makes one call that must fail: with a 4xx of the vendor, or with a refusal of the proxy."""
        outcome = self._new_outcome(check)
        began = perf_counter()
        try:
            await ask(_call(outcome))
            outcome.problem = "it was not refused"
        except UpstreamError as error:
            outcome.details = f"{error.status} {error.kind}: {error.message}"
            outcome.problem = "" if 400 <= error.status < 500 else f"refused as {error.status}"
        except ProxyError as error:
            outcome.details = f"{error.status} {error.kind}: {error.message}"
        outcome.seconds = perf_counter() - began

    def _new_outcome(self, check: str) -> Outcome:
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


def _transcribing(runner: AttemptRunner, bound: BoundDeployment, request: TranscriptionRequest) -> Ask:
    async def ask(call: Call) -> bytes:
        async with runner.attempt(_accepted(match_transcription(request, bound)), call) as result:
            return render_transcription(result, request).first

    return ask


async def _transcription(stack: AsyncExitStack, model: str, audio: bytes, response_format: str) -> TranscriptionRequest:
    file = await stack.enter_async_context(opened(("speech.wav", audio)))
    return TranscriptionRequest(model, file, response_format=response_format)


# -- expectations ------------------------------------------------------------------------------------------------------


def _audio(body: bytes) -> tuple[str, str]:
    try:
        with av.open(io.BytesIO(body)) as container:
            seconds = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    except av.FFmpegError as error:
        return f"not audio: {error}", repr(body[:40])
    problem = "" if MIN_LENGTH < seconds < MAX_LENGTH else "unexpected duration"
    return problem, f"{seconds:.1f} s, {len(body)} bytes"


def _transcript(response_format: str, is_sentence: bool) -> Evaluate:
    def evaluate(body: bytes) -> tuple[str, str]:
        text = body.decode()
        if response_format != "srt":
            document = json.loads(text)
            text = document["text"]
            if response_format == "verbose_json" and not document["segments"]:
                return "no segments", text
        elif not re.match(r"1\n\d\d:\d\d:\d\d,\d{3} --> ", text):
            return "no subtitles", text
        else:
            text = " ".join(line for line in text.splitlines() if not re.match(r"\d+$|\d\d:\d\d", line))
        similarity = difflib.SequenceMatcher(None, _letters(text), _letters(SENTENCE)).ratio()
        return ("other words" if is_sentence and similarity < MIN_SIMILARITY else ""), text

    return evaluate


def _letters(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.lower())


# -- the command -------------------------------------------------------------------------------------------------------


def mode_of(model: str) -> Mode:
    """Raises ValueError if neither the vendor's table nor the name of the model shows it."""
    vendor = max((name for name in VENDORS if model.startswith(f"{name}/")), key=len, default="openai")
    mode = infer_mode(vendor, model.removeprefix(f"{vendor}/"))
    if mode is None:
        raise ValueError(f"{model}: the mode cannot be inferred; use --speech or --transcription")
    return mode


async def check(
    models: list[str], modes: dict[str, Mode], voice: str, audio: bytes | None, base: str | None
) -> list[Outcome]:
    """Speech models first: the transcription models transcribe what they say."""
    outcomes: list[Outcome] = []
    spoken = audio
    for model in sorted(models, key=lambda name: modes[name] != Mode.SPEECH):
        checks = Checks(model, Settings(timeout=TIMEOUT, max_retries=0, api_base=base))
        try:
            if modes[model] == Mode.SPEECH:
                spoken = await checks.speak(voice) or spoken
            elif spoken is None:
                checks.outcomes.append(
                    Outcome(model, "all", "nothing to transcribe: name a speech model, too, or use --audio")
                )
            else:
                await checks.transcribe(spoken, is_sentence=spoken is not audio)
        except Unauthorized as error:
            checks.outcomes.append(Outcome(model, "all", details=error.message, skipped=True))
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
    parser = argparse.ArgumentParser(description="Tests real vendors. This costs a little money.")
    parser.add_argument("models", nargs="+", metavar="MODEL", help="vendor/model")
    parser.add_argument("--audio", type=Path, help="file to transcribe, instead of the output of the last speech model")
    parser.add_argument("--voice", default="alloy")
    parser.add_argument("--api-base", help="base URL for all models")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--speech", action="store_true", help="all models are speech models")
    kind.add_argument("--transcription", action="store_true", help="all models are transcription models")
    options = parser.parse_args(arguments)
    forced = Mode.SPEECH if options.speech else Mode.TRANSCRIPTION if options.transcription else None
    try:
        modes = {model: forced or mode_of(model) for model in options.models}
    except (ValueError, ProxyError) as error:
        parser.error(str(error))
    audio = options.audio.read_bytes() if options.audio is not None else None
    outcomes = asyncio.run(check(options.models, modes, options.voice, audio, options.api_base))
    print(table([COLUMNS, *(outcome.cells for outcome in outcomes)]))
    known = [outcome.cost for outcome in outcomes if outcome.cost is not None]
    print(f"\n{len(known)} calls with a known price: {sum(known, Decimal(0)):.6f} USD.")
    return 1 if any(outcome.problem for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
