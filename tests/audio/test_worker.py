"""What the program of the workers makes of FFmpeg's errors."""

from __future__ import annotations

import os
from typing import Any

import av.error
import pytest

from proxy.audio import worker
from proxy.audio.channel import JobRefused
from proxy.audio.limits import Limits

ERRORS = sorted(
    {kind for kind in vars(av.error).values() if isinstance(kind, type) and issubclass(kind, av.error.FFmpegError)},
    key=lambda kind: kind.__name__,
)


class Descriptors:
    """A channel that hands over a file."""

    def descriptor(self) -> int:
        return os.open(os.devnull, os.O_RDONLY)


@pytest.mark.parametrize("error", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_of_ffmpeg_is_a_refusal_and_not_the_end_of_the_worker(
    error: type[av.error.FFmpegError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def job(*_: Any) -> None:
        raise error(1, "it failed")

    monkeypatch.setitem(worker._JOBS, "probe", job)
    channel: Any = Descriptors()
    with pytest.raises(JobRefused):
        worker._do({"op": "probe"}, channel, Limits())


def test_any_other_failure_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    def job(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setitem(worker._JOBS, "probe", job)
    channel: Any = Descriptors()
    with pytest.raises(MemoryError):
        worker._do({"op": "probe"}, channel, Limits())
