"""What ``model`` says: ``vendor/name``, or only a name, which is OpenAI's.

Models' names may contain slashes (``Systran/faster-whisper-small``), so an unknown prefix is either a misspelt vendor
or part of the name. OpenAI's own models have no slash: there, an unknown prefix is always a mistake. A server of one's
own (``api_base``) may have any name: there, only a prefix that differs from a vendor in one character is a mistake, and
``openai/…`` in front of the name settles it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from proxy.config import litellm
from proxy.config.problems import quote, suggestion

#: Among shorter names, one character makes too many words: local and vocal, groq and grok.
_MIN_MISSPELT = 6
#: ``openai:tts-1``, ``openai\\tts-1``. Models of one's own server may have tags: ``kokoro:latest``.
_OTHER_SEPARATOR = re.compile(r"([a-zA-Z_]+)[:\\]")


class ModelName(NamedTuple):
    """The vendor, which may be unknown, and its name for the model."""

    vendor: str
    name: str


def split_model(
    model: str, vendors: Collection[str], *, provider: str | None = None, has_own_server: bool
) -> ModelName:
    """``provider`` (``custom_llm_provider``) names the vendor if ``model`` does not."""
    vendor, name = (
        (provider, model.removeprefix(f"{provider}/")) if provider else _split(model, vendors, has_own_server)
    )
    if has_own_server and vendor not in vendors and vendor in litellm.OPENAI_COMPATIBLE:
        vendor = "openai"
    return ModelName(vendor, name)


def _split(model: str, vendors: Collection[str], has_own_server: bool) -> tuple[str, str]:
    for vendor in (vendor for vendor in vendors if "/" in vendor):
        prefix, name = _prefix(model, vendor.count("/") + 1)
        if name and (prefix == vendor or misspelt_vendor(prefix, [vendor])):
            return prefix, name
    if not has_own_server and (separated := _OTHER_SEPARATOR.match(model)) and separated[1].lower() in vendors:
        return separated[0], model[separated.end() :]
    prefix, slash, name = model.partition("/")
    is_known = prefix in vendors or prefix in litellm.PROVIDERS
    if not prefix or model == "openai" or not (slash or is_known):
        return "openai", model
    if has_own_server and not is_known and not misspelt_vendor(prefix, vendors):
        return "openai", model
    return prefix, name


def _prefix(model: str, parts: int) -> tuple[str, str]:
    """The first parts, and the rest."""
    words = model.split("/")
    return "/".join(words[:parts]), "/".join(words[parts:])


def misspelt_vendor(prefix: str, vendors: Collection[str]) -> str | None:
    """The vendor from which the prefix differs in one character. Capitals alone make the name of an organization."""
    lower = prefix.lower()
    return next(
        (
            vendor
            for vendor in (*vendors, *litellm.OPENAI_COMPATIBLE)
            if len(vendor) >= _MIN_MISSPELT and lower != vendor and _is_one_edit(lower, vendor)
        ),
        None,
    )


def _is_one_edit(one: str, two: str) -> bool:
    """Whether a wrong, missing, superfluous or swapped character is the only difference."""
    pairs = enumerate(zip(one, two, strict=False))
    start = next((place for place, (left, right) in pairs if left != right), min(len(one), len(two)))
    shorter, longer = sorted((one[start:], two[start:]), key=len)
    if len(shorter) == len(longer):
        return shorter[1:] == longer[1:] or (shorter[:2] == longer[:2][::-1] and shorter[2:] == longer[2:])
    return shorter == longer[1:]


def unknown_vendor(vendor: str, name: str, vendors: Collection[str], *, has_own_server: bool) -> str:
    """What to tell about a vendor that does not exist."""
    if _OTHER_SEPARATOR.fullmatch(vendor):
        full = quote(f"{vendor[:-1].lower()}/{name}")
        return f"the vendor and the model are separated by a slash: write {full}"
    near = suggestion(vendor, vendors) or f"; the vendors are {', '.join(vendors)}."
    remedy = "For a server of your own with OpenAI's API, set api_base."
    if has_own_server:
        full = quote(f"openai/{vendor}/{name}")[1:-1]
        remedy = f"If the server at api_base has a model of this name, write {full}."
    return f"unknown vendor {quote(vendor)}{near} {remedy}"
