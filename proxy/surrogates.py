"""Halves of surrogate pairs, which UTF-8 cannot encode, become U+FFFD. Strings that a program has cut end in them."""

from __future__ import annotations

import re

#: An escape in JSON. The groups: half of a surrogate pair without the other half.
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)", re.DOTALL)


def well_formed(text: str) -> str:
    """Text that UTF-8 can encode."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def well_formed_escapes(text: str) -> str:
    """JSON whose escapes are all such text."""
    return _ESCAPE.sub(lambda escape: "\\ufffd" if escape[1] else escape[0], text)


def decoded_utf8(data: bytes | bytearray) -> str:
    """Raises UnicodeDecodeError for anything else that is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return well_formed(data.decode("utf-8", "surrogatepass"))
