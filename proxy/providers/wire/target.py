"""Where a deployment's requests go: URLs and headers are prepared once, and requests are made from them.

A hot path: nothing is parsed, looked up or encoded twice. Nothing that a caller sends may choose a URL: whatever goes
into a path is encoded by `segment`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from pydantic_core import to_json

from proxy.config import Deployment
from proxy.errors import UnsupportedValue
from proxy.http.messages import URL, ByteStream, Headers, PreparedHeaders, Request
from proxy.providers.wire.headers import secrets_extension
from proxy.providers.wire.multipart import MultipartStream

_VERSION = re.compile(r"/v\d+\w*$")


class Target:
    """``base`` has no version segment; ``authorization`` holds the headers that carry the key."""

    def __init__(self, deployment: Deployment, *, base: str, authorization: Mapping[str, str]) -> None:
        self._base = base.rstrip("/")
        url = URL(self._base)
        authority = url.authority.decode("ascii")
        prepared = {
            "host": authority,
            "user-agent": "audio-proxy",
            "accept": "*/*",
            "accept-encoding": "identity",
            **authorization,
        }
        hidden = [value.get_secret_value() for value in deployment.headers.values()]
        for name, value in deployment.headers.items():
            prepared[name.lower()] = value.get_secret_value()
        #: For requests that are built elsewhere.
        self.headers = Headers.of(prepared)
        self._prepared = PreparedHeaders(self.headers, secrets_extension(self.headers))
        keys = [value.rpartition(" ")[2] for value in authorization.values()]
        hosts = (authority, url.host, urlsplit(self._base).hostname or "")
        #: To be redacted from the vendor's errors.
        self.secrets = tuple(secret for secret in (*keys, base, *hosts, *hidden) if len(secret) > 3)

    def url(self, path: str, query: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> URL:
        """``path`` begins with a slash and is already encoded."""
        pairs = urlencode(list(query.items() if isinstance(query, Mapping) else query))
        return URL(f"{self._base}{path}{'?' if pairs else ''}{pairs}")

    def post(self, url: URL, body: Any) -> Request:
        """A POST request with a JSON body."""
        content = to_json(body, inf_nan_mode="null")
        return self._prepared.post(url, content, b"application/json", len(content))

    def form(self, url: URL, form: MultipartStream) -> Request:
        return self._prepared.post(url, form, form.content_type.encode("ascii"), form.length)

    def send(
        self,
        method: str,
        url: URL,
        *,
        body: bytes | ByteStream = b"",
        content_type: str | None = None,
        length: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Request:
        """Any other request; ``length`` is that of a ``body`` that is a stream."""
        fields = dict(self.headers)
        if length is not None:
            fields["content-length"] = str(length)
        if content_type is not None:
            fields["content-type"] = content_type
        fields.update(headers or {})
        return Request(method, url, Headers.of(fields), body)


def without_version(base: str) -> str:
    """Operators write both ``https://host/v1`` and ``https://host``."""
    return _VERSION.sub("", base.rstrip("/"))


def segment(name: str, *, param: str = "voice") -> str:
    """An id as one segment of a path. Raises UnsupportedValue for an id that would change the path."""
    if name in ("", ".", "..") or any(ord(letter) < 32 for letter in name):
        raise UnsupportedValue(f"'{name[:50]!a}' is not a valid {param} id.", param=param)
    return quote(name, safe="")
