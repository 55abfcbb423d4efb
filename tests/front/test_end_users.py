"""Whom a call is for: where it may be said, that it never goes upstream, and that it may be forbidden."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from proxy import parse
from proxy.domain.requests import SpeechRequest
from proxy.errors import BadRequest
from tests.conftest import MASTER_KEY, Server, launch, standard_config
from tests.fakes.samples import wav
from tests.fakes.upstream import Upstream
from tests.front.shape import error_of

SPEAK = "/v1/audio/speech"
LISTEN = "/v1/audio/transcriptions"
HELLO = {"model": "selfhosted", "input": "Hello", "voice": "alloy"}
HEADERS = ["x-proxy-end-user-id", "x-litellm-end-user-id", "x-litellm-customer-id", "X-OpenWebUI-User-Id"]


@pytest.fixture(scope="module")
def client(fake: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Of a server on which eve is blocked."""
    server: Server = launch(standard_config(fake.url), tmp_path_factory.mktemp("end_users"))
    with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {MASTER_KEY}"}, timeout=20) as client:
        assert client.post("/end_users/block", json={"user_ids": ["eve", "naïve ☃"]}).status_code == 200
        yield client
    assert server.stop() == 0, server.log()


def said(document: dict[str, Any] | None = None, headers: dict[bytes, bytes] | None = None) -> str | None:
    body = {"model": "m", "input": "i"} | (document or {})
    return parse.end_user(parse.speech_request(parse_json(body)), headers or {})


def parse_json(document: dict[str, Any]) -> bytes:
    import json

    return json.dumps(document).encode()


# -- where it is said --------------------------------------------------------------------------------------------------


def test_the_field_goes_before_the_headers_and_those_before_the_safety_identifier() -> None:
    headers = {name.lower().encode(): name.encode() for name in HEADERS}
    everything = {"user": "field", "safety_identifier": "safety"}
    assert said(everything, headers) == "field"
    for name in HEADERS:
        assert said({"safety_identifier": "safety"}, headers) == name
        del headers[name.lower().encode()]
    assert said({"safety_identifier": "safety"}, headers) == "safety"
    assert said() is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (" alice ", "alice"),
        ("a\r\nb\x00c\x1b[2J", "abc[2J"),
        ("\u0085x", "x"),
        ("x" * 256, "x" * 256),
        ("名前", "名前"),
    ],
)
def test_control_characters_and_white_space_are_left_out(text: str, kept: str) -> None:
    assert said({"user": text}) == kept
    assert said({}, {b"x-proxy-end-user-id": text.encode()}) == kept


def test_a_header_may_be_latin_1() -> None:
    assert said({}, {b"x-proxy-end-user-id": "naïve".encode("latin-1")}) == "naïve"


@pytest.mark.parametrize("empty", ["", "  ", "\r\n", None])
def test_nothing_is_nobody(empty: str | None) -> None:
    assert said({"user": empty}) is None
    assert said({"user": empty}, {b"x-proxy-end-user-id": b"header"}) == "header"


@pytest.mark.parametrize("name", ["user", "x-proxy-end-user-id", "safety_identifier"])
def test_a_name_is_bounded(client: httpx.Client, upstream: Upstream, name: str) -> None:
    long = "x" * 257
    headers, fields = ({name: long}, {}) if name.startswith("x-") else ({}, {name: long})
    assert error_of(client.post(SPEAK, json=HELLO | fields, headers=headers), 400)["param"] == name
    data = {"model": "whisper"} | fields
    reply = client.post(LISTEN, data=data, files={"file": ("a.wav", wav())}, headers=headers)
    assert error_of(reply, 400)["param"] == name
    assert not upstream.requests


@pytest.mark.parametrize("value", [7, True, ["alice"], {"id": "alice"}])
def test_a_name_is_a_text(client: httpx.Client, value: Any) -> None:
    assert error_of(client.post(SPEAK, json=HELLO | {"user": value}), 400)["param"] == "user"


# -- what becomes of it ------------------------------------------------------------------------------------------------


def test_the_field_never_goes_upstream(client: httpx.Client, upstream: Upstream) -> None:
    assert client.post(SPEAK, json=HELLO | {"user": "u-77", "USER": "u-77"}).status_code == 200
    data = {"model": "selfhosted-stt", "user": "u-77"}
    headers = dict.fromkeys(HEADERS, "u-77") | {"x-proxy-tags": "u-77"}
    assert client.post(LISTEN, data=data, files={"file": ("a.wav", wav())}, headers=headers).status_code == 200
    assert len(upstream.requests) == 2
    for request in upstream.requests:
        assert b"u-77" not in request.body
        assert "u-77" not in str(request.headers)


@pytest.mark.parametrize("where", ["user", *HEADERS, "safety_identifier"])
@pytest.mark.parametrize("path", [SPEAK, LISTEN, "/v1/audio/translations"])
def test_a_blocked_end_user_is_refused_wherever_he_is_named(
    client: httpx.Client, upstream: Upstream, where: str, path: str
) -> None:
    def ask(name: str) -> httpx.Response:
        headers, fields = ({where: name.encode()}, {}) if where in HEADERS else ({}, {where: name})
        if path == SPEAK:
            return client.post(path, json=HELLO | fields, headers=headers)
        model = {"model": "translator" if "translations" in path else "whisper"}
        return client.post(path, data=model | fields, files={"file": ("a.wav", wav())}, headers=headers)

    error_of(ask("eve"), 403, "end_user_blocked")
    error_of(ask("\x9feve" if where in HEADERS else " eve\n"), 403, "end_user_blocked")
    assert not upstream.requests
    assert ask("alice").status_code == 200


def test_a_blocked_name_beyond_ascii(client: httpx.Client) -> None:
    error_of(client.post(SPEAK, json=HELLO | {"user": "naïve ☃"}), 403, "end_user_blocked")
    headers = {"x-proxy-end-user-id": "naïve ☃".encode()}
    error_of(client.post(SPEAK, json=HELLO, headers=headers), 403, "end_user_blocked")


@pytest.mark.parametrize("prefix", ["/end_users", "/customer", "/end_user"])
def test_blocking_and_unblocking_under_all_names(client: httpx.Client, upstream: Upstream, prefix: str) -> None:
    body = {"user_ids": ["mallory"]}
    blocked = client.post(f"{prefix}/block", json=body)
    assert blocked.json() == {"blocked_users": [{"user_id": "mallory", "blocked": True}]}
    error_of(client.post(SPEAK, json=HELLO | {"user": "mallory"}), 403, "end_user_blocked")
    listed = {row["id"]: row["blocked"] for row in client.get("/end_users").json()["data"]}
    assert listed["mallory"] is True
    assert client.post(f"{prefix}/unblock", json=body).status_code == 200
    assert client.post(SPEAK, json=HELLO | {"user": "mallory"}).status_code == 200


@pytest.mark.parametrize("names", [None, [], "eve", [1], [""], ["x" * 257], ["\n "], ["a\x00"], ["x"] * 1001])
def test_whom_one_cannot_block(client: httpx.Client, names: Any) -> None:
    assert error_of(client.post("/end_users/block", json={"user_ids": names}), 400)["param"] == "user_ids"


# -- tags --------------------------------------------------------------------------------------------------------------


def test_tags_are_those_of_the_key_and_of_the_request() -> None:
    assert parse.tags({}, ("eu",)) == ("eu",)
    assert parse.tags({b"x-proxy-tags": b" batch, eu,,night "}, ("eu",)) == ("eu", "batch", "night")
    assert parse.tags({b"x-litellm-tags": b"a,b\x00"}) == ("a", "b")
    assert parse.tags({b"x-litellm-tags": b"a", b"x-proxy-tags": b"b"}) == ("b",)


@pytest.mark.parametrize("value", ["x" * 129, ",".join(f"t{number}" for number in range(21))])
def test_tags_are_bounded(client: httpx.Client, value: str) -> None:
    with pytest.raises(BadRequest):
        parse.tags({b"x-proxy-tags": value.encode()})
    error = error_of(client.post(SPEAK, json=HELLO, headers={"x-proxy-tags": value}), 400)
    assert error["param"] == "x-proxy-tags"
    assert client.post(SPEAK, json=HELLO, headers={"x-proxy-tags": "a" * 128}).status_code == 200


def test_a_request_without_an_end_user_costs_nothing_to_ask() -> None:
    assert parse.end_user(SpeechRequest(model="m", input="i"), {}) is None
