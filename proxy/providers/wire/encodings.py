"""Bytes of a server's text as text, whatever its encoding."""

from __future__ import annotations

import codecs
import re
from typing import Final

from proxy.surrogates import well_formed

_CHARSET: Final = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
#: UTF-32's begins with UTF-16's.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def decoded(body: bytes, content_type: str = "") -> str:
    """By its byte order mark, which is left out; as UTF-8 if it is that; as its label says; else Western European."""
    for mark, encoding in _MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(encoding, "replace")
    if b"\0" in body[:4]:
        return body.decode("utf-16-be" if body[:1] == b"\0" else "utf-16-le", "replace")
    stated = _CHARSET.search(content_type)
    for encoding in ("utf-8", stated[1] if stated else "cp1252", "cp1252", "latin-1"):
        try:
            return well_formed(body.decode(encoding))
        except (UnicodeError, LookupError):
            continue
    raise AssertionError("latin-1 decodes any bytes")
