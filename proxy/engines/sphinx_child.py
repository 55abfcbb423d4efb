"""The pocketsphinx process. Job ``transcribe``: s16le mono at 16 kHz in, JSON documents out, one a piece.

``{"type": "segment", "id", "start", "end", "text", "words": [{"word", "start", "end"}]}`` as soon as an utterance is
over, at last ``{"type": "done", "duration"}``. Times are seconds.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from typing import Any, Final

from proxy.audio.channel import Channel, serve
from proxy.audio.limits import Limits
from proxy.engines.refusal import Refusal
from proxy.errors import NotInstalled

RATE: Final = 16_000
#: For the files of the model.
_DESCRIPTORS: Final = 64
_FRAMES_A_SECOND: Final = 100
#: An utterance is cut here when nobody pauses, so that memory and waiting stay bounded.
_MAX_SECONDS: Final = 20.0
_ALTERNATIVE: Final = re.compile(r"\(\d+\)$")


class Recogniser:
    """A decoder with the model for American English, which comes with the package."""

    def __init__(self) -> None:
        try:
            self._sphinx: Any = importlib.import_module("pocketsphinx")
        except ImportError as error:
            raise Refusal(
                NotInstalled,
                "pocketsphinx is not installed on this server: pip install 'audio-proxy[local]'. Where that leaves it "
                "out, there is no wheel for this Python and machine: pip install pocketsphinx, with a C compiler.",
            ) from error
        self._decoder = self._sphinx.Decoder(samprate=RATE, frate=_FRAMES_A_SECOND, loglevel="FATAL")

    def segments(self, pieces: Iterator[bytes]) -> Iterator[dict[str, Any]]:
        """The documents."""
        count = 0
        recording = _Recording(self._sphinx.Endpointer(sample_rate=RATE))
        for utterance in recording.utterances(pieces):
            if words := utterance.words(self._decoder):
                yield _segment(count, words)
                count += 1
        yield {"type": "done", "duration": round(recording.samples / RATE, 3)}


class _Recording:
    """PCM, cut into utterances where nobody speaks."""

    def __init__(self, endpointer: Any) -> None:
        self._endpointer = endpointer
        self.samples = 0

    def utterances(self, pieces: Iterator[bytes]) -> Iterator[_Utterance]:
        endpointer = self._endpointer
        utterance: _Utterance | None = None
        for frame, last in _frames(pieces, endpointer.frame_bytes):
            self.samples += len(frame) // 2
            speech = endpointer.end_stream(frame) if last else endpointer.process(frame)
            if speech:
                utterance = utterance or _Utterance(endpointer.speech_start)
                utterance.feed(speech)
            if utterance is None:
                continue
            if last or not endpointer.in_speech:
                yield utterance
                utterance = None
            elif utterance.seconds >= _MAX_SECONDS:
                yield utterance
                utterance = _Utterance(utterance.start + utterance.seconds)


class _Utterance:
    """One stretch of speech, from ``start`` seconds into the recording."""

    def __init__(self, start: float) -> None:
        self.start = start
        self._speech = bytearray()

    @property
    def seconds(self) -> float:
        return len(self._speech) / 2 / RATE

    def feed(self, speech: bytes) -> None:
        self._speech += speech

    def words(self, decoder: Any) -> list[dict[str, Any]]:
        """The words; silences and noises are left out.

        Decoded as a whole: so the loudness of the utterance itself is the measure, which recognises far more than going
        by the loudness of what came before.
        """
        decoder.start_utt()
        decoder.process_raw(bytes(self._speech), full_utt=True)
        decoder.end_utt()
        return [
            {
                "word": _ALTERNATIVE.sub("", found.word),
                "start": round(self.start + found.start_frame / _FRAMES_A_SECOND, 2),
                "end": round(self.start + (found.end_frame + 1) / _FRAMES_A_SECOND, 2),
            }
            for found in (decoder.seg() or ())
            if not found.word.startswith(("<", "[", "+"))
        ]


def _segment(number: int, words: list[dict[str, Any]]) -> dict[str, Any]:
    text = " ".join(word["word"] for word in words)
    times = {"start": words[0]["start"], "end": words[-1]["end"]}
    return {"type": "segment", "id": number, **times, "text": text, "words": words}


def _frames(pieces: Iterator[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """Frames of ``size`` bytes, the last of which may be shorter, and whether it is the last."""
    held = bytearray()
    for piece in pieces:
        held += piece
        whole = (len(held) - 1) // size * size if held else 0
        for start in range(0, whole, size):
            yield bytes(held[start : start + size]), False
        del held[:whole]
    if len(held) > 1:
        yield bytes(held[: len(held) // 2 * 2]), True


class SphinxEngine:
    """The job. The model is loaded by the first one."""

    def __init__(self) -> None:
        self._recogniser: Recogniser | None = None

    def transcribe(self, job: dict[str, Any], channel: Channel, limits: Limits) -> None:
        self._recogniser = self._recogniser or Recogniser()
        for document in self._recogniser.segments(channel.input()):
            channel.write_piece(json.dumps(document).encode())


if __name__ == "__main__":
    serve(SphinxEngine().transcribe, descriptors=_DESCRIPTORS)
