"""Where a deployment's requests go: URLs and headers prepared once, and requests made of them.

A hot path: nothing is parsed, looked up or encoded twice. Nothing that a caller sends may choose a URL: whatever goes
into a path is encoded by `segment`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import httpx
from pydantic_core import to_json

from proxy.config import Deployment
from proxy.errors import UnsupportedValue
from proxy.messages import Address
from proxy.providers.wire.multipart import MultipartStream
from proxy.providers.wire.requests import Prepared

_VERSION = re.compile(r"/v\d+\w*$")


class Target:
    """``base`` has no version segment; ``authorization`` holds the headers that carry the key."""

    def __init__(self, deployment: Deployment, *, base: str, authorization: Mapping[str, str]) -> None:
        self._base = base.rstrip("/")
        url = httpx.URL(self._base)
        prepared = {
            "host": url.netloc.decode("ascii"),
            "user-agent": "audio-proxy",
            "accept": "*/*",
            "accept-encoding": "identity",
            **authorization,
        }
        hidden = [value.get_secret_value() for value in deployment.headers.values()]
        for name, value in deployment.headers.items():
            prepared[name.lower()] = value.get_secret_value()
        #: For requests that are built elsewhere.
        self.headers = httpx.Headers(prepared, encoding="latin-1")
        self._prepared = Prepared(self.headers)
        keys = [value.rpartition(" ")[2] for value in authorization.values()]
        #: To be redacted from the vendor's errors.
        self.secrets = tuple(
            secret
            for secret in (*keys, base, url.netloc.decode("ascii"), url.host, *hidden)
            if secret and len(secret) > 3
        )

    def url(self, path: str, query: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> httpx.URL:
        """``path`` begins with a slash and is already encoded."""
        pairs = urlencode(list(query.items() if isinstance(query, Mapping) else query))
        return Address(f"{self._base}{path}{'?' if pairs else ''}{pairs}")

    def post(self, url: httpx.URL, body: Any) -> httpx.Request:
        """A POST request with a JSON body."""
        return self._prepared.post_json(url, to_json(body, inf_nan_mode="null"))

    def form(self, url: httpx.URL, form: MultipartStream) -> httpx.Request:
        return self._prepared.post_form(url, form)

    def send(
        self,
        method: str,
        url: httpx.URL,
        *,
        stream: httpx.AsyncByteStream | None = None,
        content_type: str | None = None,
        length: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Request:
        """Any other request; ``stream`` is its body, of ``length`` bytes."""
        sent = httpx.Headers(self.headers)
        if stream is not None or method in ("POST", "PUT"):
            sent["content-length"] = str(length)
        if content_type is not None:
            sent["content-type"] = content_type
        sent.update(headers or {})
        return httpx.Request(method, url, headers=sent, stream=stream or httpx.ByteStream(b""))


def without_version(base: str) -> str:
    """Operators write both ``https://host/v1`` and ``https://host``."""
    return _VERSION.sub("", base.rstrip("/"))


def segment(name: str, *, param: str = "voice") -> str:
    """An id as one segment of a path. Raises UnsupportedValue for an id that would change the path."""
    if name in ("", ".", "..") or any(ord(letter) < 32 for letter in name):
        raise UnsupportedValue(f"'{name[:50]!a}' is not a valid {param} id.", param=param)
    return quote(name, safe="")
