"""The headers in which clients send their key."""

from __future__ import annotations

from base64 import b64encode

import httpx
import pytest

from tests.conftest import MASTER_KEY, Server
from tests.fakes.upstream import Upstream
from tests.front.shape import error_of

HELLO = {"model": "tts", "input": "Hello", "voice": "alloy"}
OF_A_GATEWAY = "Basic " + b64encode(b"alice:secret").decode()
WRONG = "sk-wrong"

Headers = dict[str, str]


def outcomes(server: Server, headers: Headers) -> set[int]:
    """The statuses of the hot path and of another route; they never differ."""
    replies = (
        httpx.post(server.url + "/v1/audio/speech", json=HELLO, headers=headers),
        httpx.get(server.url + "/v1/models", headers=headers),
    )
    for reply in replies:
        if reply.status_code != 200:
            assert MASTER_KEY not in error_of(reply, 401, "invalid_api_key")["message"]
    return {reply.status_code for reply in replies}


@pytest.mark.parametrize("header", ["api-key", "x-api-key", "x-litellm-api-key", "X-API-Key"])
def test_each_header_holds_a_key_with_or_without_bearer(upstream: Upstream, proxy: Server, header: str) -> None:
    for value in (MASTER_KEY, f"Bearer {MASTER_KEY}", f"bearer  {MASTER_KEY}"):
        assert outcomes(proxy, {header: value}) == {200}
    for value in (WRONG, "", "Bearer", f"Bearer {WRONG}", f"Basic {MASTER_KEY}"):
        assert outcomes(proxy, {header: value}) == {401}


@pytest.mark.parametrize(
    "headers",
    [
        {"x-litellm-api-key": MASTER_KEY, "authorization": f"Bearer {WRONG}", "api-key": WRONG},
        {"authorization": f"Bearer {MASTER_KEY}", "api-key": WRONG, "x-api-key": WRONG},
        {"api-key": MASTER_KEY, "x-api-key": WRONG},
        # Authorization without a key: empty, or for a gateway in front.
        {"authorization": "Bearer", "api-key": MASTER_KEY},
        {"authorization": OF_A_GATEWAY, "x-api-key": MASTER_KEY},
        {"authorization": "Digest username=alice", "x-api-key": MASTER_KEY},
    ],
)
def test_of_several_headers_the_first_that_holds_a_key_counts(
    upstream: Upstream, proxy: Server, headers: Headers
) -> None:
    assert outcomes(proxy, headers) == {200}


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {WRONG}", "api-key": MASTER_KEY},
        {"authorization": f"Bearer {WRONG}", "x-api-key": MASTER_KEY},
        {"x-litellm-api-key": WRONG, "authorization": f"Bearer {MASTER_KEY}"},
        {"api-key": WRONG, "x-api-key": MASTER_KEY},
    ],
)
def test_no_second_key_is_tried(upstream: Upstream, proxy: Server, headers: Headers) -> None:
    assert outcomes(proxy, headers) == {401}
    assert not upstream.requests


@pytest.mark.parametrize("name", ["api-key", "key", "api_key", "subscription-key", "access_token"])
def test_no_key_is_read_from_a_query(upstream: Upstream, proxy: Server, name: str) -> None:
    """The server's log, which is searched for the key when it ends, holds no query either."""
    for path in ("/v1/models", "/nowhere", "/openai/deployments/tts/audio/speech"):
        reply = httpx.get(proxy.url + path, params={name: MASTER_KEY})
        assert reply.status_code in {401, 404, 405}
        assert MASTER_KEY not in reply.text
    error_of(httpx.post(proxy.url + "/v1/audio/speech", params={name: MASTER_KEY}, json=HELLO), 401)


def test_operators_pages_take_them_too(proxy: Server) -> None:
    for headers in ({"api-key": MASTER_KEY}, {"x-api-key": MASTER_KEY, "authorization": OF_A_GATEWAY}):
        assert httpx.get(proxy.url + "/health", headers=headers).status_code == 200
    error_of(httpx.get(proxy.url + "/health", headers={"authorization": OF_A_GATEWAY}), 401)
    error_of(httpx.get(proxy.url + "/health", headers={"api-key": WRONG}, auth=("any", MASTER_KEY)), 401)
