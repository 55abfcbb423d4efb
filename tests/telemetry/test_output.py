"""Output that nobody reads: nothing waits for it, it is bounded, and what is lost is counted."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator

import pytest

from proxy.telemetry import output
from proxy.telemetry.output import MAX_WAITING, Output, drain, without_waiting


class Pipe:
    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.stream = os.fdopen(self.writing, "w")

    def fill(self) -> int:
        """Fill the pipe to the last byte; the number of bytes."""
        os.set_blocking(self.writing, False)
        filled = 0
        try:
            while True:
                filled += os.write(self.writing, b"x")
        except BlockingIOError:
            os.set_blocking(self.writing, True)
        return filled

    def read(self, size: int) -> bytes:
        content = b""
        while len(content) < size and (chunk := os.read(self.reading, size - len(content))):
            content += chunk
        return content


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    drained = threading.Thread(target=pipe.read, args=(1 << 30,), daemon=True)
    drained.start()  # the writer's thread must not stay in a write
    drain()
    pipe.stream.close()
    drained.join()
    os.close(pipe.reading)


def test_lines_arrive_whole_and_in_order(pipe: Pipe) -> None:
    stream = Output(pipe.stream)
    lines = [f"{number} " + "ä" * (number % 3000) + "\n" for number in range(60)] + ["x" * 200_000 + "\n", "last\n"]
    for line in lines:
        print(line, end="", file=stream, flush=True)
    wanted = "".join(lines).encode()
    assert pipe.read(len(wanted)) == wanted
    assert stream.dropped == 0


def test_a_full_pipe_stops_nobody_and_what_is_dropped_is_counted_and_said(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = pipe.fill()
    stream, line = Output(pipe.stream), "y" * 999 + "\n"
    for _ in range(MAX_WAITING // 1000 + 50):
        stream.write(line)
    assert stream.dropped == 50
    assert output.dropped_lines() >= 50
    pipe.read(filled)
    assert pipe.read(MAX_WAITING) == line.encode() * (MAX_WAITING // 1000)
    drain()
    stream.write("again\n")
    assert pipe.read(6) == b"again\n"
    said = capsys.readouterr()
    assert "lines=50" in (said.out + said.err).replace("\x1b[0m", "").replace("\x1b[36m", "").replace("\x1b[35m", "")


def test_a_full_pipe_delays_the_end_of_the_process_for_a_bounded_time(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "LAST_SECONDS", 0.05)
    pipe.fill()
    Output(pipe.stream).write("never read")
    drain()


@pytest.mark.parametrize("opened", [True, False])
def test_a_reader_that_is_gone_or_never_was_is_no_error(pipe: Pipe, opened: bool) -> None:
    gone = Pipe()
    os.close(gone.reading)
    stream = Output(gone.stream if opened else None)
    stream.write("one\ntwo")
    drain()
    assert stream.dropped == 1
    assert not stream.isatty()
    gone.stream.close()


def test_a_pipe_that_another_process_has_set_to_non_blocking_loses_nothing(pipe: Pipe) -> None:
    os.set_blocking(pipe.writing, False)
    stream = Output(pipe.stream)
    stream.write("z" * 1_000_000)
    assert pipe.read(1_000_000) == b"z" * 1_000_000


def test_a_fork_while_the_pipe_is_full_has_an_output_of_its_own(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    filled = pipe.fill()
    monkeypatch.setattr(sys, "stderr", pipe.stream)
    with without_waiting():
        sys.stderr.write("parent\n")
        if (child := os.fork()) == 0:
            sys.stderr.write("child\n")
            drain()
            os._exit(0)
        assert pipe.read(filled + 13).lstrip(b"x").split() in ([b"parent", b"child"], [b"child", b"parent"])
        assert os.waitpid(child, 0)[1] == 0
