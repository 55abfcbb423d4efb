"""The log for people: one short line for a call, readable errors, colors only on a terminal."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable
from decimal import Decimal
from time import perf_counter

import pytest
import structlog

from proxy.domain.call import Attempt, Call
from proxy.domain.caller import MASTER, Caller
from proxy.telemetry import Telemetry, configure_logging

TIME = r"\d\d:\d\d:\d\d"
Log = Callable[..., io.StringIO]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)

    def configured(style: str = "console", level: str = "info", file: io.StringIO | None = None) -> io.StringIO:
        file = io.StringIO() if file is None else file
        monkeypatch.setattr(sys, "stderr", file)
        configure_logging(style, level)
        return file

    yield configured
    structlog.reset_defaults()
    logging.getLogger().handlers.clear()


def call(**fields: object) -> Call:
    now = perf_counter()
    attempt = Attempt("tts/openai/tts-1", "openai", now - 1.2, first_byte=now - 0.9, ended=now)
    made = Call("req_1", "speech", now - 1.24, caller=Caller("ab" * 32, "reader"), group="tts", status=200)
    made.attempts, made.won = [attempt], attempt
    made.sent, made.cost, made.characters = now - 0.93, Decimal("0.0000150000"), 12
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def line(file: io.StringIO) -> str:
    (text,) = file.getvalue().splitlines()
    file.truncate(0)
    file.seek(0)
    return text


def test_a_call_is_one_short_line(log: Log) -> None:
    file = log()
    Telemetry().end(call())
    text = line(file)
    assert text[8:] == " 200 speech tts → tts/openai/tts-1 1.24 s, first byte 0.31 s, $0.000015 req_1 (reader)"
    assert text[2] == text[5] == ":"


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        (
            {"status": 502, "error": "upstream", "message": "It failed.", "detail": "status 500", "sent": None},
            "502 speech tts → tts/openai/tts-1 1.24 s, $0.000015 req_1 (reader) upstream: It failed. [status 500]",
        ),
        (
            {"status": 401, "error": "unauthorized", "message": "No key.", "caller": Caller(), "group": ""}
            | {"attempts": [], "won": None, "sent": None, "cost": None},
            "401 speech - 1.24 s req_1 unauthorized: No key.",
        ),
        (
            {"fallback": "tts", "caller": MASTER, "cost": Decimal(0)},
            "200 speech tts (fallback) → tts/openai/tts-1 1.24 s, first byte 0.31 s, $0 req_1 (master)",
        ),
    ],
)
def test_errors_and_fallbacks(log: Log, fields: dict[str, object], wanted: str) -> None:
    file = log()
    Telemetry().end(call(**fields))
    assert line(file)[9:] == wanted


def test_details_on_demand(log: Log) -> None:
    file = log(level="debug")
    Telemetry().end(call(end_user="ann b", tags=("eu", "night")))
    text = line(file)
    assert "first byte 0.31 s, $0.000015 req_1 (reader) " in text
    for part in ('end_user="ann b"', "tags=eu,night", "characters=12", "attempts=1", "bytes_out=0"):
        assert part in text


def test_colors_on_a_terminal_only_and_where_they_are_wanted(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    def written(style: str, file: io.StringIO) -> str:
        log(style, file=file)
        Telemetry().end(call())
        structlog.get_logger().warning("odd", reason="x")
        return file.getvalue()

    assert "\x1b[32m200\x1b[0m" in written("console", Terminal())
    assert "\x1b[33mwarning: \x1b[0modd reason=x" in written("auto", Terminal())
    assert "\x1b" not in written("console", io.StringIO())
    assert written("auto", io.StringIO()).startswith("{")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in written("console", Terminal())
    monkeypatch.setenv("NO_COLOR", "")
    assert "\x1b" in written("console", Terminal())
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in written("console", Terminal())


def test_other_events_are_readable(log: Log) -> None:
    file = log()
    logger = structlog.get_logger()
    logger.info("configuration loaded", deployments=3, skipped=None)
    assert line(file)[8:] == " configuration loaded deployments=3"
    logger.warning("changed settings take effect after a restart", settings=["a.b", "a.c"])
    assert line(file)[8:] == " warning: changed settings take effect after a restart settings=a.b,a.c"
    logger.info(
        "refused", request_id="r", method="GET", path="/v1/x", status=404, error="not_found", message="Unknown URL."
    )
    assert line(file)[8:] == " 404 GET /v1/x r not_found: Unknown URL."
    logger.error("invalid configuration", problems=["config.yaml:3: a", "config.yaml:4: b"])
    shown = file.getvalue().splitlines()
    assert shown[0][8:] == " error: invalid configuration"
    assert shown[1:] == ["  config.yaml:3: a", "  config.yaml:4: b"]
    file.truncate(0)
    file.seek(0)
    try:
        raise ValueError("why")
    except ValueError:
        logger.exception("unexpected error", request_id="r")
    first, *trace = file.getvalue().splitlines()
    assert first[8:] == " error: unexpected error request_id=r"
    assert (trace[0], trace[-1]) == ("Traceback (most recent call last):", "ValueError: why")


def test_libraries_log_the_same_way(log: Log) -> None:
    file = log()
    logging.getLogger("somewhere").warning("odd %s", "thing")
    assert line(file)[8:] == " warning: odd thing"


def test_nothing_in_a_line_controls_the_terminal(log: Log) -> None:
    file = log(level="debug")
    Telemetry().end(call(caller=Caller("ab" * 32, "a\x1b[2Jb"), end_user="x\ny"))
    structlog.get_logger().warning("a\x1b[2Jb", reason="c\rd")
    text = file.getvalue()
    assert text.count("\n") == 2
    assert "".join(text.splitlines()).isprintable()
