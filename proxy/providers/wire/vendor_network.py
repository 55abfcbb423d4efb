"""Whether a vendor's error describes the vendor's own machines: addresses, hosts, paths, stack traces."""

from __future__ import annotations

import re
from html import unescape
from ipaddress import ip_address
from unicodedata import normalize
from urllib.parse import unquote

_SEPARATORS = re.compile(r"""[\s"'`<>()\[\]{},;|=@]+""")
_LOCAL_DOMAINS = frozenset(
    {"corp", "home", "internal", "intra", "intranet", "lan", "local", "localdomain", "private", "svc"}
)
#: Of pages that are meant for everybody: ``help.openai.com``.
_PUBLIC_LABELS = frozenset({"developer", "developers", "docs", "help", "platform", "status", "support", "www"})
_URL = re.compile(r"https://[\w./-]{1,300}")
_HOST = re.compile(r"(?:[a-z0-9_-]+\.)+[a-z]{2,}")
_HOST_AND_PORT = re.compile(r"(?!\d{4}-\d\d-\d\dt)(?=[\d.-]*[a-z])[a-z0-9][\w.-]*:\d{2,5}(?!\w)")
_ELSEWHERE = re.compile(
    r"(?<![\d.])\d{1,4}(?:\.\d{1,4}){3}(?![\d.]*\d)|\b0x[0-9a-f]{8}\b"  # IPv4
    r"|(?<!\d)(?<!\d-)\d{1,3}(?:-\d{1,3}){3}(?![\d-])|-[0-9a-f]{8,10}-[a-z0-9]{5}\b"  # names of machines and of pods
    r"|\w@[a-z][\w-]*(?![\w.-])"  # a user of a machine
    r"|\b(?:enotfound|eai_again|getaddrinfo|errno|no such (?:file|host)|name resolution"
    r"|(?:name or service|servname) not)\b"  # the name of a host or a file stands beside it
    r"|(?<![\w<./])~?/[\w.@-]{2,}|(?<![\w:/])//\w|(?<![\w.])\.{1,2}/\w"  # a path
    r"|\w/[\w./-]{0,200}\.(?:bin|conf|gguf|json|log|onnx|pt|pth|safetensors|so|sock|ya?ml)\b"
    r"|\b[a-z]:[\\/]|\\\\[\w.-]"  # the same on Windows
    r"|\btraceback\b|\bfile \"[^\"]{1,300}\", line \d|\bat [\w.$<>]{1,200}\("  # a stack trace
    r"|\bgoroutine \d|\bpanicked at\b|\.(?:c|cc|cpp|cs|go|java|js|kt|php|py|rb|rs|scala|ts):\d"
)


def describes_network(message: str) -> bool:
    """Whether the message holds an address, a host, a URL, a path or a stack trace; public pages do not count."""
    text = normalize("NFKC", unescape(unquote(message))).lower().replace("。", ".").replace("[.]", ".")
    is_internal = any(_is_internal(token[:300]) for token in _SEPARATORS.split(text))
    return is_internal or _ELSEWHERE.search(_URL.sub(" ", text)) is not None


def _is_internal(token: str) -> bool:
    scheme, is_url, rest = token.rpartition("://")
    if is_url:
        return scheme != "https" or not _is_public(rest.partition("/")[0].rstrip("."))
    host = token.partition("/")[0].rstrip(".:")
    if _HOST_AND_PORT.match(token) or host == "localhost" or _is_ipv6(token):
        return True
    return _HOST.fullmatch(host) is not None and not _is_public(host)


def _is_public(host: str) -> bool:
    """Whether it may be the name of a site rather than of a machine: two parts, or the third one is usual."""
    labels = host.split(".")
    if _HOST.fullmatch(host) is None or labels[-1] in _LOCAL_DOMAINS:
        return False
    return len(labels) == 2 or (len(labels) == 3 and labels[0] in _PUBLIC_LABELS)


def _is_ipv6(token: str) -> bool:
    if token.count(":") < 2:
        return False
    try:
        return bool(ip_address(token.rstrip(".,").partition("%")[0]))
    except ValueError:
        return False
