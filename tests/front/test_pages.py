"""The page at ``/``, and Swagger UI at ``/docs``."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from importlib.metadata import version

import httpx
import pytest

from tests.conftest import MASTER_KEY, Server, standard_config
from tests.fakes.upstream import Upstream
from tests.front.wire import AUTHORIZATION

KEY = {"authorization": AUTHORIZATION}
BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


class Parts(HTMLParser):
    """What a page loads, what it links to, and whether it has code of its own."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.has_code = False
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.has_code |= (tag == "script" and "src" not in found) or any(name.startswith("on") for name in found)
        if tag == "a":
            self.links.append(found["href"] or "")
        elif address := found.get("src") or found.get("href"):
            self.loads.append(address)


def policy_of(reply: httpx.Response) -> dict[str, str]:
    assert reply.headers["x-content-type-options"] == "nosniff"
    directives = reply.headers["content-security-policy"].split("; ")
    return {name: value for name, _, value in (directive.partition(" ") for directive in directives)}


def test_a_browser_gets_a_page_and_everybody_else_json(proxy: Server) -> None:
    page = httpx.get(proxy.url, headers=BROWSER)
    assert page.headers["content-type"].startswith("text/html")
    parts = Parts(page.text)
    assert parts.links == ["/docs", "/health/readiness"]
    assert not parts.has_code
    assert parts.loads == ["data:,"]
    assert policy_of(page)["default-src"] == "'none'"
    for headers in ({}, {"accept": "*/*"}, {"accept": "application/json"}):
        reply = httpx.get(proxy.url, headers=headers)
        assert reply.json() == {"name": "audio-proxy", "docs": "/docs", "api": "/v1"} | {
            "description": reply.json()["description"]
        }
        assert "accept" in reply.headers["vary"]


def test_the_page_at_the_root_tells_strangers_nothing(proxy: Server) -> None:
    for headers in (BROWSER, {}):
        text = httpx.get(proxy.url, headers=headers).text
        assert version("audio-proxy") not in text
        assert "tts" not in text


def test_swagger_ui_comes_from_here_and_runs_no_other_script(proxy: Server) -> None:
    page = httpx.get(proxy.url + "/docs", headers=KEY)
    parts = Parts(page.text)
    assert not parts.has_code
    assert [address for address in parts.loads if not address.startswith(("/docs/", "data:"))] == []
    policy = policy_of(page)
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    for address in filter(lambda address: address.startswith("/"), parts.loads):
        asset = httpx.get(proxy.url + address)
        assert asset.status_code == 200
        assert asset.headers["x-content-type-options"] == "nosniff"
        expected = "text/css" if address.endswith(".css") else "text/javascript"
        assert asset.headers["content-type"].startswith(expected)
        assert MASTER_KEY not in asset.text
    described = re.search(r'data-url="([^"]+)"', page.text)
    assert described
    assert httpx.get(proxy.url + described[1], headers=KEY).json()["openapi"]


def test_under_a_root_path_everything_is_under_it(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(standard_config(upstream.url), args=["--root-path", "/base"])
    for reply in (httpx.get(server.url, headers=BROWSER), httpx.get(server.url + "/base/docs/", headers=KEY)):
        parts = Parts(reply.text)
        addresses = [address for address in (*parts.loads, *parts.links) if not address.startswith("data:")]
        assert addresses
        assert all(address.startswith("/base/") for address in addresses)
        assert {httpx.get(server.url + address, headers=KEY).status_code for address in addresses} == {200}


def test_without_docs_only_the_page_at_the_root_is_left(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(standard_config(upstream.url, docs_enabled=False))
    assert Parts(httpx.get(server.url, headers=BROWSER).text).links == ["/health/readiness"]
    assert "docs" not in httpx.get(server.url).json()
    for path in ("/docs", "/openapi.json", "/docs/swagger-ui.css", "/docs/start.js"):
        assert httpx.get(server.url + path, headers=KEY).status_code == 404


@pytest.mark.parametrize("path", ["/docs/redoc.standalone.js", "/docs/../config.yaml", "/docs/%2e%2e/%2e%2e/core.py"])
def test_no_other_file_is_served(proxy: Server, path: str) -> None:
    assert httpx.get(proxy.url + path, headers=KEY).status_code == 404
