"""How an origin is reached: directly, or through the forward proxy that the environment configures."""

from __future__ import annotations

import base64
import ipaddress
import urllib.request
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from proxy.http.errors import UnsupportedProtocol
from proxy.http.messages import URL

PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """Where to connect to, and which host to request there. Compared by identity."""

    scheme: str
    host: str
    port: int
    #: Host and port of the forward proxy.
    proxy: tuple[str, int] | None = None
    #: A secret.
    proxy_authorization: bytes = field(default=b"", repr=False)

    @property
    def tunnelled(self) -> bool:
        return self.proxy is not None and self.scheme == "https"

    @property
    def authority(self) -> bytes:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}".encode("ascii")


def route_to(url: URL, *, trust_env: bool) -> Route:
    """The route for an absolute URL; reads HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY if ``trust_env``."""
    scheme, host = url.scheme, url.host
    if scheme not in PORTS or not host:
        raise UnsupportedProtocol("the URL of a request must begin with http:// or https:// and name a host")
    port = url.port or PORTS[scheme]
    address = _proxy_address(scheme, host, port) if trust_env and not is_loopback(host) else None
    if address is None:
        return Route(scheme, host, port)
    proxy = URL(address if "://" in address else f"http://{address}")
    if proxy.scheme != "http" or not proxy.host:
        raise UnsupportedProtocol(f"a forward proxy must be an http:// URL, not {proxy.scheme}://")
    secret = b""
    if proxy.userinfo:
        user, _, password = proxy.userinfo.partition(b":")
        secret = b"Basic " + base64.b64encode(unquote_to_bytes(user) + b":" + unquote_to_bytes(password))
    return Route(scheme, host, port, (proxy.host, proxy.port or 80), secret)


def is_loopback(host: str) -> bool:
    """Whether a host name or address refers to this machine."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.split("%")[0]).is_loopback
    except ValueError:
        return False


def _proxy_address(scheme: str, host: str, port: int) -> str | None:
    proxies = urllib.request.getproxies()
    address = proxies.get(scheme) or proxies.get("all")
    if not address or urllib.request.proxy_bypass(f"{host}:{port}"):
        return None
    return address
