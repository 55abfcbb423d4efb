"""Converts audio from one format to another as a stream: output begins before the input ends.

All real work happens in the workers of a `WorkerPool`, one piece at a time, so a slow reader slows down the source.
The caller closes the arguments (`chunks`, `file`), and exhausts or closes the returned generator.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Final

from proxy.audio import formats, wav
from proxy.audio.pool import WorkerPool
from proxy.audio.source import READABLE, Source, container
from proxy.errors import InvalidAudio, Overloaded, UnsupportedValue, UpstreamInvalid

#: Samples per second of all audio that is sent to clients. The header of Opus always says 48,000.
SPEECH_RATE: Final = 24_000


@dataclass(frozen=True, slots=True)
class PcmFormat:
    """Headerless s16le."""

    rate: int = SPEECH_RATE
    #: 1 or 2, interleaved.
    channels: int = 1


async def encode(
    pool: WorkerPool,
    chunks: AsyncIterator[bytes],
    *,
    source: PcmFormat,
    target: str,
    rate: int = SPEECH_RATE,
    tempo: float = 1.0,
) -> AsyncGenerator[bytes]:
    """PCM → one of the six speech formats, mono at `rate`. pcm and wav at the source's rate need no worker.

    A `tempo` of 2 doubles the speed at the same pitch.
    """
    _check_target(target)
    if target in ("pcm", "wav") and source == PcmFormat(rate) and tempo == 1.0:
        pcm = _unchanged(chunks)
    else:
        job = {
            "op": "encode",
            "source_rate": source.rate,
            "source_channels": source.channels,
            "target": "pcm" if target == "wav" else target,
            "rate": rate,
            "tempo": tempo,
        }
        pcm = pool.run(job, fault=Overloaded, chunks=chunks)
    async with contextlib.aclosing(_with_header(pcm, target, rate)) as output:
        async for data in output:
            yield data


async def transcode(
    pool: WorkerPool,
    chunks: AsyncIterator[bytes],
    *,
    source_format: str,
    target: str,
    rate: int = SPEECH_RATE,
    tempo: float = 1.0,
) -> AsyncGenerator[bytes]:
    """An encoded stream → one of the six speech formats, mono at `rate`. Raises UpstreamInvalid if it is unreadable.

    `source_format` is what the bytes are, not what they are called (see `recognition`), and not pcm.
    """
    _check_target(target)
    if source_format == "wav":
        output = _transcode_wav(pool, chunks, target, rate, tempo)
    else:
        output = _transcode_by_worker(pool, chunks, source_format, target, rate, tempo)
    async with contextlib.aclosing(output):
        async for data in output:
            yield data


async def decode(
    pool: WorkerPool, file: Source, *, rate: int = 16_000, max_seconds: float | None = None
) -> AsyncGenerator[bytes]:
    """An upload → s16le mono at `rate`. Raises InvalidAudio if it is unreadable or longer than `max_seconds`.

    The pool's limit always applies, too.
    """
    bound = pool.limits.decoded_seconds if max_seconds is None else min(max_seconds, pool.limits.decoded_seconds)
    job = {"op": "decode", "container": container(file), "rate": rate, "decoded_seconds": bound}
    async with contextlib.aclosing(pool.run(job, fault=InvalidAudio, source=file)) as output:
        async for data in output:
            yield data


def _check_target(target: str) -> None:
    if target not in formats.SPEECH_FORMATS:
        allowed = ", ".join(formats.SPEECH_FORMATS)
        raise UnsupportedValue(f"'{target}' is not one of the formats {allowed}.", param="response_format")


def _unreadable(refusal: str, *, detail: str = "") -> UpstreamInvalid:
    """The worker's message is about uploads, so the caller, who sent none, gets another one."""
    return UpstreamInvalid("The upstream vendor's audio cannot be read.", detail=f"{refusal} {detail}".strip())


def _transcode_by_worker(
    pool: WorkerPool, source: AsyncIterator[bytes], container: str, target: str, rate: int, tempo: float
) -> AsyncGenerator[bytes]:
    if container not in READABLE:
        raise UpstreamInvalid("The vendor's answer is audio in an unknown format.", detail=container)
    job = {
        "op": "transcode",
        "container": container,
        "target": "pcm" if target == "wav" else target,
        "rate": rate,
        "tempo": tempo,
    }
    return _with_header(pool.run(job, fault=_unreadable, chunks=source), target, rate)


async def _transcode_wav(
    pool: WorkerPool, source: AsyncIterator[bytes], target: str, rate: int, tempo: float
) -> AsyncGenerator[bytes]:
    """FFmpeg reads 64 KiB of a wav file before it returns anything, and only the first of several files.

    So it gets one file of unknown length, or plain PCM.
    """
    begin = b""
    try:
        while (head := wav.parse(begin)) is None and len(begin) < wav.MAX_HEADER:
            begin += await anext(source)
    except (ValueError, StopAsyncIteration):
        head = None
    if head is None:
        output = _transcode_by_worker(pool, _joined(begin, source), "wav", target, rate, tempo)
    else:
        samples = _samples(head, _joined(begin[head.offset :], source))
        if head.is_s16:
            pcm = PcmFormat(head.rate, head.channels)
            output = encode(pool, samples, source=pcm, target=target, rate=rate, tempo=tempo)
        else:
            one_file = _joined(wav.endless(begin[: head.offset]), samples)
            output = _transcode_by_worker(pool, one_file, "wav", target, rate, tempo)
    async with contextlib.aclosing(output):
        async for data in output:
            yield data


async def _samples(header: wav.Header, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Those of a wav file, or of several one after another."""
    samples = wav.Samples(header)
    try:
        async for chunk in chunks:
            yield samples.feed(chunk)
    except ValueError as error:
        raise _unreadable(str(error)) from error
    yield samples.end()


async def _unchanged(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    async for chunk in chunks:
        if chunk:
            yield chunk


async def _with_header(output: AsyncGenerator[bytes], target: str, rate: int) -> AsyncGenerator[bytes]:
    async with contextlib.aclosing(output):
        header = wav.header(rate) if target == "wav" else b""
        async for data in output:
            yield header + data
            header = b""
        if header:
            yield header


async def _joined(begin: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield begin
    async for chunk in chunks:
        yield chunk
