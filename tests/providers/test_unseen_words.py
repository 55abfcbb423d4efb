"""Nothing that a caller writes reaches a vendor unless the guardrails have seen it, whichever field holds it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote_plus

import httpx
import pytest

from tests.fakes.upstream import Recorded
from tests.front.shape import error_of
from tests.providers.conftest import ANY_VOICE, SpeechDesk, TranscriptionDesk

#: What the guardrail `canary` blocks. A subtag of a language has at most eight characters.
CANARY, NUMBER = "canary7", 4929381332664295
DEEP = [{"a": [{"b": {"c": ["x", CANARY]}}]}, {"a": {CANARY: True}}, {"a": [[NUMBER]]}, [CANARY], NUMBER]
FORGED = f"data:audio/wav;base64,{CANARY}"
SPEECH: dict[str, list[Any]] = {
    "input": [CANARY],
    "instructions": [CANARY],
    "voice": [CANARY, {"id": CANARY}],
    "response_format": [CANARY],
    "speed": [NUMBER],
    "user": [CANARY],
    **{name: [CANARY, *DEEP] for name in ("unheard_of", "language", "extra_data", "reference_text", "seed", "style")},
    CANARY: ["x"],
    "reference_audio": [FORGED, f"data:text/plain,{CANARY}"],
}
FORM: dict[str, list[str]] = {
    "language": [CANARY, f"en-{CANARY}", f"German ({CANARY})", f"de_DE.{CANARY}", f"de;q={CANARY}"],
    "languages[]": [CANARY, f"en-US-{CANARY}"],
    "prompt": [CANARY],
    "response_format": [CANARY],
    "temperature": [str(NUMBER)],
    "timestamp_granularities[]": [CANARY],
    "include[]": [CANARY],
    "keywords[]": [CANARY],
    "chunking_strategy": [CANARY, json.dumps({"type": "server_vad", "x": {"y": [CANARY]}})],
    "chunking_strategy[type]": [CANARY],
    "chunking_strategy[canary]": [CANARY],
    "known_speaker_names[]": [CANARY],
    "known_speaker_references[]": [CANARY, FORGED, f"data:{CANARY};base64,UklGRg=="],
    "user": [CANARY],
    **{name: [CANARY, json.dumps({"a": [CANARY]}), str(NUMBER)] for name in ("unheard_of", "style[a][b]", "seed")},
    f"unheard_of[{CANARY}]": ["x"],
    CANARY: ["x"],
}


def holds(request: Recorded) -> bool:
    """Whether a request has the canary anywhere: address, headers, body."""
    parts = [part.value for part in request.parts] + [repr(part).encode() for part in request.parts]
    sent = b"\n".join([repr(request.headers).encode(), request.body, *parts]).decode("utf-8", "replace")
    sent += unquote_plus(request.target)
    return CANARY in sent or str(NUMBER) in sent


def check(desk: SpeechDesk | TranscriptionDesk, asks: Iterable[Ask], known: str) -> None:
    """What reaches the vendor without the guardrail is blocked by it."""
    arrived = set()
    for ask in asks:
        desk.vendor.requests.clear()
        ask()
        if any(map(holds, desk.vendor.requests)):
            arrived.add(ask.field)
            desk.vendor.requests.clear()
            reply = ask(guarded=True)
            error_of(reply, 400)
            assert "Blocked by the guardrail 'canary'" in reply.text, ask
            assert not any(map(holds, desk.vendor.requests)), ask
    desk.vendor.requests.clear()
    assert known in arrived


@dataclass
class Ask:
    """A call with the canary in one field."""

    send: Callable[..., httpx.Response]
    field: str
    value: Any

    def __call__(self, *, guarded: bool = False) -> httpx.Response:
        return self.send(**{self.field: self.value}, **({"guardrails": ["canary"]} if guarded else {}))


def test_of_speech(speech: SpeechDesk) -> None:
    fields = SPEECH | {key: [CANARY, *DEEP] for key in speech.can.extras or ()}
    check(
        speech, [Ask(partial(speech.say, ANY_VOICE), name, value) for name in fields for value in fields[name]], "input"
    )


def test_of_transcription(transcription: TranscriptionDesk) -> None:
    if transcription.case.prompt_of is None:
        pytest.skip("the vendor takes no text")
    fields = FORM | {key: [CANARY, json.dumps({"a": [CANARY]}), str(NUMBER)] for key in transcription.can.extras or ()}
    check(transcription, [Ask(transcription.hear, name, value) for name in fields for value in fields[name]], "prompt")


@pytest.mark.parametrize("filename", [f"{CANARY}.wav", f"{CANARY}", f"a.{CANARY}"])
def test_the_name_of_an_upload_stays_here(transcription: TranscriptionDesk, filename: str) -> None:
    transcription.vendor.requests.clear()
    reply = transcription.hear(filename=filename, guardrails=["canary"])
    assert reply.status_code == 200, reply.text
    assert transcription.vendor.requests
    assert not any(holds(request) for request in transcription.vendor.requests)
