"""Who may call, from where, with which headers."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable

import httpx
import pytest

from tests.conftest import MASTER_KEY, Server, standard_config
from tests.fakes.samples import SPEECH, wav
from tests.fakes.upstream import KEY, Upstream
from tests.front.shape import error_of
from tests.front.wire import AUTHORIZATION, FORM, JSON, Wire, file_part, form, text_part

SPEAK = "/v1/audio/speech"
LISTEN = "/v1/audio/transcriptions"
HELLO = {"model": "tts", "input": "Hello", "voice": "alloy"}
BODY = json.dumps(HELLO).encode()


# -- keys --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer sk-wrong",
        f"Bearer {MASTER_KEY}x",
        f"Bearer {MASTER_KEY[:-1]}",
        f"Basic {MASTER_KEY}",
        MASTER_KEY,
        f"Bearer {KEY}",
        "Bearer \u00fc\u00e9",
    ],
)
@pytest.mark.parametrize("path", [SPEAK, LISTEN, "/v1/audio/translations", "/v1/models"])
def test_missing_or_wrong_is_401(upstream: Upstream, proxy: Server, path: str, authorization: str | None) -> None:
    with Wire(proxy.port) as wire:
        method = "GET" if path == "/v1/models" else "POST"
        wire.head(method, path, {**JSON, "Content-Length": str(len(BODY)), "Authorization": authorization})
        wire.send(BODY)
        reply = wire.reply(method)
    error = error_of(reply, 401, "invalid_api_key")
    assert error["type"] == "invalid_request_error"
    assert reply.headers["www-authenticate"] == "Bearer"
    assert MASTER_KEY not in reply.text
    assert not upstream.requests


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_read_without_regard_to_case(upstream: Upstream, proxy: Server, scheme: str) -> None:
    reply = httpx.post(proxy.url + SPEAK, json=HELLO, headers={"authorization": f"{scheme} {MASTER_KEY}"})
    assert (reply.status_code, reply.content) == (200, SPEECH["mp3"])


def test_401_is_decided_while_a_large_body_is_still_being_sent(upstream: Upstream, proxy: Server) -> None:
    with Wire(proxy.port) as wire:
        wire.head("POST", LISTEN, {**FORM, "Content-Length": str(100 << 20), "Authorization": "Bearer sk-wrong"})
        wire.send(form(text_part("model", "whisper"), file_part(b""))[:60])
        error_of(wire.reply(), 401, "invalid_api_key")


def test_401_reaches_a_client_that_writes_everything_first(upstream: Upstream, proxy: Server) -> None:
    body = form(text_part("model", "whisper"), file_part(bytes(4 << 20)))
    with Wire(proxy.port) as wire:
        error_of(wire.post(LISTEN, body, {**FORM, "Authorization": "Bearer sk-wrong"}), 401, "invalid_api_key")


def test_401_with_a_broken_body_stays_401(upstream: Upstream, proxy: Server) -> None:
    with Wire(proxy.port) as wire:
        error_of(wire.post(LISTEN, b"broken", {**FORM, "Authorization": None}), 401)
    with Wire(proxy.port) as wire:
        error_of(wire.post(SPEAK, b"{", {**JSON, "Authorization": None}), 401)


def test_without_a_key_expect_100_continue_is_not_answered_with_continue(upstream: Upstream, proxy: Server) -> None:
    with Wire(proxy.port) as wire:
        headers = {**FORM, "Content-Length": str(50 << 20), "Authorization": None, "Expect": "100-continue"}
        wire.head("POST", LISTEN, headers)
        assert wire.socket.recv(12) == b"HTTP/1.1 401"


def test_401_reaches_a_client_that_expects_and_does_not_wait(upstream: Upstream, proxy: Server) -> None:
    """As Go's does where ExpectContinueTimeout is 0."""
    with Wire(proxy.port) as wire:
        reply = wire.post(LISTEN, b"x" * (20 << 20), {**FORM, "Authorization": None, "Expect": "100-continue"})
        error_of(reply, 401, "invalid_api_key")
        assert wire.closed()


@pytest.mark.parametrize("path", ["/health/liveliness", "/health/readiness"])
def test_health_probes_are_open(proxy: Server, path: str) -> None:
    assert httpx.get(proxy.url + path).status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/metrics", "/health", "/openapi.json"])
def test_docs_metrics_and_health_need_the_master_key(proxy: Server, http: httpx.Client, path: str) -> None:
    error_of(httpx.get(proxy.url + path), 401, "invalid_api_key")
    assert http.get(path).status_code == 200


def test_metrics_token_opens_metrics_and_no_more_than_it_should(
    upstream: Upstream, serve: Callable[..., Server]
) -> None:
    token = "mt-5e1d7a90c3b24f68"
    server = serve(standard_config(upstream.url, metrics_token=token, docs_enabled=False))
    asks = {"authorization": f"Bearer {token}"}
    metrics = httpx.get(server.url + "/metrics", headers=asks)
    assert metrics.status_code == 200
    assert httpx.get(server.url + "/metrics", headers={"authorization": AUTHORIZATION}).status_code == 200
    error_of(httpx.get(server.url + "/metrics"), 401)
    error_of(httpx.post(server.url + SPEAK, json=HELLO, headers=asks), 401)
    error_of(httpx.get(server.url + "/v1/models", headers=asks), 401)
    with_key = {"authorization": AUTHORIZATION}  # docs_enabled: false
    error_of(httpx.get(server.url + "/docs", headers=with_key), 404)
    error_of(httpx.get(server.url + "/openapi.json", headers=with_key), 404)


def test_health_lists_deployments_without_secrets_and_without_paid_calls(
    upstream: Upstream, http: httpx.Client
) -> None:
    reply = http.get("/health")
    assert "openai/tts-1" in reply.text or "tts-1" in reply.text
    assert KEY not in reply.text
    assert "sk-upstream" not in reply.text
    assert str(upstream.port) not in reply.text
    assert not upstream.requests


def test_metrics_count_what_happened(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(standard_config(upstream.url))
    asks = {"authorization": AUTHORIZATION}
    assert httpx.post(server.url + SPEAK, json=HELLO, headers=asks).status_code == 200
    error_of(httpx.post(server.url + SPEAK, json=HELLO | {"model": "nowhere"}, headers=asks), 502)
    reply = httpx.get(server.url + "/metrics", headers=asks)
    assert reply.headers["content-type"].startswith("text/plain")
    text = reply.text
    for word in ("requests", "error", "first_byte", "overhead", "bytes", "in_flight", "upstream_unreachable"):
        assert word in text, f"{word} is not in\n{text}"
    assert KEY not in text
    assert "Hello" not in text


def test_allow_unauthenticated_opens_the_door(upstream: Upstream, serve: Callable[..., Server]) -> None:
    config = standard_config(upstream.url)
    config["general_settings"] = {"allow_unauthenticated": True}
    server = serve(config)
    assert httpx.post(server.url + SPEAK, json=HELLO).content == SPEECH["mp3"]
    assert httpx.post(server.url + SPEAK, json=HELLO, headers={"authorization": "Bearer any"}).status_code == 200


# -- CORS --------------------------------------------------------------------------------------------------------------

ORIGIN = {"origin": "https://app.example"}
PREFLIGHT = ORIGIN | {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-stainless-lang",
}


def test_cors_is_off_by_default(upstream: Upstream, proxy: Server, http: httpx.Client) -> None:
    preflight = httpx.options(proxy.url + SPEAK, headers=PREFLIGHT)
    reply = http.post(SPEAK, json=HELLO, headers=ORIGIN)
    assert reply.status_code == 200
    for answer in (preflight, reply):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_cors_origins_with_the_headers_a_browser_needs(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(standard_config(upstream.url, cors_origins=["https://app.example"]))
    preflight = httpx.options(server.url + SPEAK, headers=PREFLIGHT)
    assert preflight.status_code in {200, 204}
    assert preflight.headers["access-control-allow-origin"] == "https://app.example"
    assert "POST" in preflight.headers["access-control-allow-methods"]
    allowed = preflight.headers["access-control-allow-headers"].lower()
    assert "*" in allowed or ("authorization" in allowed and "x-stainless-lang" in allowed)

    key = {"authorization": AUTHORIZATION}
    for reply in (
        httpx.post(server.url + SPEAK, json=HELLO, headers=ORIGIN | key),
        httpx.post(server.url + SPEAK, json=HELLO, headers=ORIGIN),  # 401
        httpx.post(server.url + SPEAK, json={}, headers=ORIGIN | key),  # 400
    ):
        assert reply.headers["access-control-allow-origin"] == "https://app.example"
        assert "x-request-id" in reply.headers["access-control-expose-headers"].lower()

    stranger = {"origin": "https://evil.example"}
    reply = httpx.post(server.url + SPEAK, json=HELLO, headers=stranger | key)
    assert reply.headers.get("access-control-allow-origin") in {None, "https://app.example"}
    assert "access-control-allow-origin" not in httpx.options(server.url + SPEAK, headers=PREFLIGHT | stranger).headers


def test_a_public_page_may_call_a_server_in_a_private_network(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(standard_config(upstream.url, cors_origins=["https://app.example"]))
    asks = PREFLIGHT | {"access-control-request-private-network": "true"}
    for path in (SPEAK, "/" + SPEAK, LISTEN, "/v1/models/"):
        headers = httpx.options(server.url + path, headers=asks).headers
        assert headers["access-control-allow-private-network"] == "true"
        assert headers["access-control-allow-origin"] == "https://app.example"
        for others in (PREFLIGHT, asks | {"origin": "https://evil.example"}):
            reply = httpx.options(server.url + path, headers=others)
            assert not (reply.is_success and "access-control-allow-private-network" in reply.headers)


# -- methods, encodings, ids -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [SPEAK, LISTEN, "/v1/audio/translations"])
@pytest.mark.parametrize("method", ["HEAD", "GET", "PUT", "PATCH", "DELETE"])
def test_head_and_wrong_methods_are_405(http: httpx.Client, path: str, method: str) -> None:
    reply = http.request(method, path)
    assert reply.status_code == 405
    assert "POST" in reply.headers["allow"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "GZIP"])
@pytest.mark.parametrize("path", [SPEAK, LISTEN])
def test_request_content_encoding_is_415(upstream: Upstream, http: httpx.Client, path: str, encoding: str) -> None:
    headers = {"content-encoding": encoding, **(JSON if path == SPEAK else FORM)}
    error_of(http.post(path, content=gzip.compress(BODY), headers=headers), 415)
    assert not upstream.requests


def test_content_encoding_identity_is_none(upstream: Upstream, http: httpx.Client) -> None:
    reply = http.post(SPEAK, content=BODY, headers={**JSON, "content-encoding": "identity"})
    assert reply.status_code in {200, 415}


@pytest.mark.parametrize("given", ["my-id-1234", "req_011CQx", "0f8fad5b-d9cb-469f-a165-70867728950e"])
def test_a_well_formed_request_id_is_kept(upstream: Upstream, proxy: Server, http: httpx.Client, given: str) -> None:
    reply = http.post(SPEAK, json=HELLO, headers={"x-request-id": given})
    assert reply.headers["x-request-id"] == given
    assert proxy.log_lines(given)


@pytest.mark.parametrize("given", ["", "a b", "x" * 500, '"quoted"', "a,b;c", "<script>", "ü"])
def test_another_request_id_is_replaced(upstream: Upstream, proxy: Server, given: str) -> None:
    with Wire(proxy.port) as wire:
        reply = wire.post(SPEAK, BODY, {**JSON, "x-request-id": given})
    assert reply.headers["x-request-id"]
    assert reply.headers["x-request-id"] != given


def test_every_answer_has_a_request_id_of_its_own(upstream: Upstream, proxy: Server, http: httpx.Client) -> None:
    replies = [
        http.post(SPEAK, json=HELLO),
        http.post(SPEAK, json=HELLO),
        http.post(SPEAK, json={}),
        http.get("/v1/models"),
        http.get("/nowhere"),
        http.get("/metrics"),
        httpx.get(proxy.url + "/health/liveliness"),
        httpx.get(proxy.url + "/v1/models"),
    ]
    ids = [reply.headers["x-request-id"] for reply in replies]
    assert len(set(ids)) == len(ids)


# -- headers by allowlist ----------------------------------------------------------------------------------------------


def test_the_upstreams_headers_pass_by_allowlist(upstream: Upstream, http: httpx.Client) -> None:
    """The fake sends cookies, its server's name, the operator's organization and CORS of its own."""
    upstream.behave("tts-1", headers={"x-evil": "1", "content-disposition": 'attachment; filename="x"', "link": "<x>"})
    reply = http.post(SPEAK, json=HELLO)
    assert reply.status_code == 200
    secret = {
        "set-cookie",
        "x-internal",
        "x-evil",
        "openai-organization",
        "openai-project",
        "cf-ray",
        "strict-transport-security",
        "access-control-allow-origin",
        "content-disposition",
        "link",
    }
    assert secret.isdisjoint(reply.headers)
    assert reply.headers.get("server") != "cloudflare"
    assert "secret" not in str(reply.headers)


def test_the_headers_of_a_success(upstream: Upstream, http: httpx.Client) -> None:
    reply = http.post(SPEAK, json=HELLO)
    assert reply.headers["x-request-id"]
    assert int(reply.headers["openai-processing-ms"]) >= 0
    assert reply.headers["x-ratelimit-limit-requests"] == "500"


def test_the_clients_headers_pass_by_allowlist(upstream: Upstream, http: httpx.Client) -> None:
    client = {
        "x-forwarded-for": "10.0.0.1",
        "forwarded": "for=10.0.0.1",
        "cookie": "session=1",
        "openai-organization": "org-client",
        "openai-project": "proj-client",
        "x-api-key": "sk-client",
        "api-key": "sk-client",
        "x-stainless-lang": "python",
        "user-agent": "OpenAI/Python 3.54.0",
        "referer": "https://app.example/secret",
        "origin": "https://app.example",
        "accept": "audio/flac",
        "x-anything": "1",
        "te": "trailers",
    }
    assert http.post(SPEAK, json=HELLO, headers=client).status_code == 200
    went_up = {name for name, _ in upstream.last.headers}
    refused = set(client) - {"accept", "user-agent"}
    assert refused.isdisjoint(went_up), refused & went_up
    assert [value for name, value in upstream.last.headers if name == "authorization"] == [f"Bearer {KEY}"]
    assert MASTER_KEY not in str(upstream.last.headers)
    assert went_up <= {
        "host",
        "authorization",
        "content-type",
        "content-length",
        "transfer-encoding",
        "accept",
        "accept-encoding",
        "user-agent",
        "connection",
        "x-request-id",
        "x-client-request-id",
        "idempotency-key",
    }


def test_no_compressed_answer_is_asked_of_the_upstream(upstream: Upstream, http: httpx.Client) -> None:
    http.post(SPEAK, json=HELLO, headers={"accept-encoding": "gzip, br"})
    assert upstream.last.header("accept-encoding") in {None, "identity"}


def test_organization_project_and_headers_of_the_deployment_go_up(
    upstream: Upstream, serve: Callable[..., Server]
) -> None:
    config = standard_config(upstream.url)
    config["model_list"][0]["litellm_params"] |= {
        "organization": "org-mine",
        "project": "proj_mine",
        "headers": {"X-Team": "audio"},
    }
    server = serve(config)
    key = {"authorization": AUTHORIZATION, "x-team": "client"}
    assert httpx.post(server.url + SPEAK, json=HELLO, headers=key).status_code == 200
    assert upstream.last.header("openai-organization") == "org-mine"
    assert upstream.last.header("openai-project") == "proj_mine"
    assert [value for name, value in upstream.last.headers if name == "x-team"] == ["audio"]


def test_header_injection_from_the_body_is_impossible(upstream: Upstream, http: httpx.Client) -> None:
    http.post(SPEAK, json=HELLO | {"model": "selfhosted", "voice": "a\r\nX-Evil: 1", "user": "u\r\nX-Evil: 2"})
    assert upstream.last.header("x-evil") is None


# -- the wire itself ---------------------------------------------------------------------------------------------------


def test_keep_alive_survives_refusals(upstream: Upstream, proxy: Server) -> None:
    with Wire(proxy.port) as wire:
        assert wire.post(SPEAK, b'{"model":"none"}', JSON).status_code == 400
        error_of(wire.post(SPEAK, json.dumps(HELLO | {"model": "none"}).encode(), JSON), 404)
        assert wire.post(SPEAK, BODY, JSON).content == SPEECH["mp3"]
        body = form(text_part("model", "whisper"), file_part(wav()))
        assert wire.post(LISTEN, body, FORM).status_code == 200


def test_pipelined_requests_are_answered_in_order(upstream: Upstream, proxy: Server) -> None:
    with Wire(proxy.port) as wire:
        unknown = json.dumps(HELLO | {"model": "none"}).encode()
        for body in (BODY, unknown, BODY):
            wire.head("POST", SPEAK, {**JSON, "Content-Length": str(len(body))})
            wire.send(body)
        assert [wire.reply().status_code for _ in range(3)] == [200, 404, 200]


def test_both_length_and_chunked_cannot_smuggle_a_request(upstream: Upstream, proxy: Server) -> None:
    smuggled = b"0\r\n\r\nPOST /v1/audio/speech HTTP/1.1\r\nHost: x\r\n\r\n"
    with Wire(proxy.port) as wire:
        wire.head("POST", SPEAK, {**JSON, "Content-Length": str(len(smuggled)), "Transfer-Encoding": "chunked"})
        wire.send(smuggled)
        assert wire.reply().status_code == 400
        assert not upstream.requests


def test_oversized_headers_are_refused(proxy: Server) -> None:
    with Wire(proxy.port) as wire:
        wire.head("POST", SPEAK, {**JSON, "X-Long": "x" * (1 << 20), "Content-Length": "2"})
        assert wire.reply().status_code in {400, 431}
