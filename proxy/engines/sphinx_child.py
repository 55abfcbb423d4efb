"""The program of the PocketSphinx processes.

Job ``transcribe``: s16le mono at 16 kHz in, JSON documents out, one per piece of output:
``{"type": "segment", "id", "start", "end", "text", "words": [{"word", "start", "end"}]}`` after each utterance, finally
``{"type": "done", "duration"}``. Times are in seconds.
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
#: Enough to open the files of the model.
_DESCRIPTORS: Final = 64
_FRAMES_PER_SECOND: Final = 100
#: An utterance without a pause is cut after so many seconds, to bound memory and delay.
_MAX_SECONDS: Final = 20.0
_ALTERNATIVE: Final = re.compile(r"\(\d+\)$")


class Recognizer:
    """A decoder with the model for American English that the package contains."""

    def __init__(self) -> None:
        try:
            self._sphinx: Any = importlib.import_module("pocketsphinx")
        except ImportError as error:
            raise Refusal(
                NotInstalled,
                "PocketSphinx is not installed on this server: pip install 'audio-proxy[local]'. If that skips it, "
                "there is no wheel for this Python and platform: pip install pocketsphinx, which needs a C compiler.",
            ) from error
        self._decoder = self._sphinx.Decoder(samprate=RATE, frate=_FRAMES_PER_SECOND, loglevel="FATAL")

    def segments(self, pieces: Iterator[bytes]) -> Iterator[dict[str, Any]]:
        """The documents of one recording."""
        count = 0
        recording = _Recording(self._sphinx.Endpointer(sample_rate=RATE))
        for utterance in recording.utterances(pieces):
            if words := utterance.words(self._decoder):
                yield _segment(count, words)
                count += 1
        yield {"type": "done", "duration": round(recording.samples / RATE, 3)}


class _Recording:
    """Cuts PCM into utterances at pauses."""

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
    """Speech without a pause. ``start``: its seconds into the recording."""

    def __init__(self, start: float) -> None:
        self.start = start
        self._speech = bytearray()

    @property
    def seconds(self) -> float:
        return len(self._speech) / 2 / RATE

    def feed(self, speech: bytes) -> None:
        self._speech += speech

    def words(self, decoder: Any) -> list[dict[str, Any]]:
        """The words, without silences and noises.

        The utterance is decoded as a whole, so that PocketSphinx normalizes it by its own loudness rather than by that
        of earlier audio. This recognizes far more.
        """
        decoder.start_utt()
        decoder.process_raw(bytes(self._speech), full_utt=True)
        decoder.end_utt()
        return [
            {
                "word": _ALTERNATIVE.sub("", segment.word),
                "start": round(self.start + segment.start_frame / _FRAMES_PER_SECOND, 2),
                "end": round(self.start + (segment.end_frame + 1) / _FRAMES_PER_SECOND, 2),
            }
            for segment in (decoder.seg() or ())
            if not segment.word.startswith(("<", "[", "+"))
        ]


def _segment(number: int, words: list[dict[str, Any]]) -> dict[str, Any]:
    text = " ".join(word["word"] for word in words)
    times = {"start": words[0]["start"], "end": words[-1]["end"]}
    return {"type": "segment", "id": number, **times, "text": text, "words": words}


def _frames(pieces: Iterator[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """Frames of ``size`` bytes, and whether each is the last one, which may be shorter."""
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        whole = (len(buffer) - 1) // size * size if buffer else 0
        for start in range(0, whole, size):
            yield bytes(buffer[start : start + size]), False
        del buffer[:whole]
    if len(buffer) > 1:
        yield bytes(buffer[: len(buffer) // 2 * 2]), True


class SphinxEngine:
    """Does the jobs. The first one loads the model."""

    def __init__(self) -> None:
        self._recognizer: Recognizer | None = None

    def transcribe(self, job: dict[str, Any], channel: Channel, limits: Limits) -> None:
        self._recognizer = self._recognizer or Recognizer()
        for document in self._recognizer.segments(channel.input()):
            channel.write_piece(json.dumps(document).encode())


if __name__ == "__main__":
    serve(SphinxEngine().transcribe, descriptors=_DESCRIPTORS)
