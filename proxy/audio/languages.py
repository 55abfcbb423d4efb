"""Whisper's languages: ISO codes and the English names that OpenAI's ``verbose_json`` uses.

Source: ``whisper/tokenizer.py`` of openai/whisper, with its aliases.
"""

from __future__ import annotations

from typing import Final

_TABLE: Final = """
af afrikaans, am amharic, ar arabic, as assamese, az azerbaijani, ba bashkir, be belarusian, bg bulgarian, bn bengali,
bo tibetan, br breton, bs bosnian, ca catalan, cs czech, cy welsh, da danish, de german, el greek, en english,
es spanish, et estonian, eu basque, fa persian, fi finnish, fo faroese, fr french, gl galician, gu gujarati, ha hausa,
haw hawaiian, he hebrew, hi hindi, hr croatian, ht haitian creole, hu hungarian, hy armenian, id indonesian,
is icelandic, it italian, ja japanese, jw javanese, ka georgian, kk kazakh, km khmer, kn kannada, ko korean, la latin,
lb luxembourgish, ln lingala, lo lao, lt lithuanian, lv latvian, mg malagasy, mi maori, mk macedonian, ml malayalam,
mn mongolian, mr marathi, ms malay, mt maltese, my myanmar, ne nepali, nl dutch, nn nynorsk, no norwegian, oc occitan,
pa punjabi, pl polish, ps pashto, pt portuguese, ro romanian, ru russian, sa sanskrit, sd sindhi, si sinhala, sk slovak,
sl slovenian, sn shona, so somali, sq albanian, sr serbian, su sundanese, sv swedish, sw swahili, ta tamil, te telugu,
tg tajik, th thai, tk turkmen, tl tagalog, tr turkish, tt tatar, uk ukrainian, ur urdu, uz uzbek, vi vietnamese,
yi yiddish, yo yoruba, yue cantonese, zh chinese
"""
_ALIASES: Final = """
my burmese, ca valencian, nl flemish, ht haitian, lb letzeburgesch, ps pushto, pa panjabi, ro moldavian, ro moldovan,
si sinhalese, es castilian, zh mandarin
"""
#: ISO 639 codes for which whisper uses a different code.
_CODE_ALIASES: Final = {"jv": "jw", "nb": "no", "fil": "tl", "iw": "he", "in": "id", "cmn": "zh"}


def _pairs(table: str) -> list[tuple[str, str]]:
    return [(code, name) for code, _, name in (entry.strip().partition(" ") for entry in table.split(","))]


_NAMES: Final = dict(_pairs(_TABLE))
_CODES: Final = {name: code for code, name in _pairs(_TABLE) + _pairs(_ALIASES)}


def language_name(language: str) -> str:
    """``en``, ``en-US`` and ``English`` → ``english``; an unknown language is only converted to lower case."""
    lower = language.strip().lower()
    return _NAMES.get(_code_of(lower), lower)


def language_code(language: str) -> str:
    """``English``, ``en-US`` and ``en`` → ``en``; an unknown language is only converted to lower case."""
    return _code_of(language.strip().lower())


def _code_of(language: str) -> str:
    if language in _CODES:
        return _CODES[language]
    primary = language.replace("_", "-").partition("-")[0]
    primary = _CODE_ALIASES.get(primary, primary)
    return primary if primary in _NAMES else language
