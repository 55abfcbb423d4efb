"""Whether a vendor's error says that it does not have the model.

Servers word this refusal in a hundred ways and give it many statuses, so the words decide. A sentence is understood
only if it says it of the model itself: "the model does not support srt" and "the model is loading" are other refusals.
"""

from __future__ import annotations

import re

#: Without their punctuation. Also the types of errors, with some vendors.
_CODES = frozenset({
    "invalidmodel", "invalidmodelid", "modeldecommissioned", "modeldoesnotexist",
    "modelnotavailable", "modelnotexist", "modelnotfound", "modelnotfounderror", "modelnotinstalled",
    "modelnotsupported", "nosuchmodel", "unknownmodel", "unsupportedmodel",
})  # fmt: skip
#: Something of a model, or something else: its absence says nothing about the model.
_OTHER = (
    r"(?:access|arguments?|config\w*|combinations?|features?|files?|formats?|inputs?|languages?|options?|outputs?"
    r"|param\w*|paths?|requests?|responses?|results?|settings?|sizes?|speakers?|states?|types?|voices?|weights)\b"
)
_MODEL = (
    r"(?<!voice )(?<!speaker )\b(?:speech_|tts_|stt_)?(?:model|deployment)(?:[ _-]?(?:id|name|identifier)(?![a-z]))?s?"
    r"\b[`'\"]?"
)
_NAME = rf"""(?:[`'"][^`'"]{{1,200}}[`'"]|(?!{_OTHER})[\w@./:+-]{{1,200}})"""
#: Up to three words that qualify the model.
_WORDS = rf"(?:(?!(?:by|for|from|in|of|on|to|with)\b|{_OTHER})[\w-]+ ){{0,3}}"
_NEGATED = r"(?:not|n't|cannot|can't|no longer|never)(?: be)?(?: yet| been)?"
_KNOWN = (
    r"(?:exists?|found|installed|downloaded|recogni[sz]ed|known|valid|registered|deployed|served|hosted"
    r"|configured|resolved|located"
    r"|(?:available|enabled|supported)(?! (?:for(?! (?:this|your) (?:account|key|organi[sz]ation|plan|project)\b)"
    r"|with|when|if|in combination)\b))"
)
_GONE = (
    r"(?:unknown|invalid|unrecogni[sz]ed|missing|nonexistent"
    r"|(?:been )?(?:removed|retired|decommissioned|deprecated|discontinued))"
)
_VERB = rf"(?:(?:(?:does|do|did|is|are|was|were|could|can) ?)?{_NEGATED} {_KNOWN}|(?:is|are|was|has|have) {_GONE})\b"

_UNKNOWN_MODEL = re.compile(
    "|".join((
        # The model `x` does not exist; model "x" not found, try pulling it first; models/x is not found for …
        rf"{_MODEL}[\s:=/]*(?:with |named |called |of |id |name )*{_NAME}?,?(?:: (?=not found|does))?\s*"
        rf"(?:for this resource )?(?:you )?(?:requested |specified |provided |given |selected )?{_VERB}",
        # Invalid model: x; unknown TTS model x; no such model
        rf"\b(?:invalid|unknown|unsupported|unrecogni[sz]ed|undefined|non-?existent|no such|no matching) "
        rf"{_WORDS}{_MODEL}(?![ _-]*{_OTHER})",
        # Could not find real modelID
        rf"\b(?:could not|couldn't|cannot|can't|unable to|failed to|did not|didn't) "
        rf"(?:find|locate|resolve|recogni[sz]e) {_WORDS}{_MODEL}(?![ _-]*{_OTHER})",
        # x is not a valid model ID; x is not in the list of supported models
        rf"\bnot (?:an? |one of (?:the |our )?|in (?:the )?list of |among (?:the )?)?"
        rf"(?:available|allowed|known|supported|recogni[sz]ed|valid) {_WORDS}{_MODEL}",
        # The model must be one of tts-1, tts-1-hd
        rf"{_MODEL}(?: parameter| field)?(?: {_NAME})? (?:must|should|has to) be (?:one of|either|in)\b",
        # No endpoints found for x; no model named x; no available channel for model x
        r"\bno (?:allowed |available )?(?:endpoints?|providers?|channels?)(?: available| found)? for\b",
        rf"\bno {_WORDS}{_MODEL} (?:is |was |were |are )?(?:named|called|with|matching|found|available)\b",
        # You do not have access to the model
        rf"(?:not|n't) have access to {_WORDS}{_MODEL}",
        r"模型.{0,60}(?:不存在|未找到|无可用渠道)",
    )),
)  # fmt: skip
_UNLOADABLE_MODEL = re.compile(
    rf"\b(?:could not|couldn't|cannot|unable to|failed to) load {_WORDS}{_MODEL}(?![ _-]*{_OTHER})"
)
#: The same request may succeed later.
_PASSING = re.compile(
    r"overloaded|(?<!failed )\bloading\b|warming|starting up|not ready|at capacity|rate limit|too many requests"
)
_CRASHED = re.compile(r"\beof\b|unavailable|cancel|memory|cuda|time[d ]?-?out|deadline")
_QUOTES = dict.fromkeys(map(ord, "\u2018\u2019\u00b4"), "'") | dict.fromkeys(map(ord, "\u201c\u201d"), '"')


def is_unknown_model_code(code: str | int | None) -> bool:
    return isinstance(code, str) and re.sub(r"[^a-z]", "", code.lower()) in _CODES


def says_unknown_model(message: str) -> bool:
    """Whether the message says that the server does not have the model."""
    text = " ".join(message[:1000].translate(_QUOTES).lower().split())
    if is_unknown_model_code(text):
        return True
    if _PASSING.search(text):
        return False
    if _UNKNOWN_MODEL.search(text):
        return True
    return _UNLOADABLE_MODEL.search(text) is not None and _CRASHED.search(text) is None
