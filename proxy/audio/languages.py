"""Languages: what callers write, what vendors take, and the English names that OpenAI's ``verbose_json`` uses.

Callers write codes of any kind (``de``, ``deu``, ``ger``, ``de_AT``), names in English or in the language itself
(``German``, ``Deutsch``, ``English (US)``), or ``auto``. A vendor declares its codes once, as `LanguageCodes`.

Sources: ``whisper/tokenizer.py`` of openai/whisper, with its aliases; the library langcodes for ISO 639 and its
deprecated, bibliographic and macrolanguage codes; ``language_names.tsv``, which is CLDR's names (by way of
language-data 1.4), OpenAI's name first. langcodes is imported only for codes that are not in whisper's table: the
import takes about 30 ms.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Final, Literal, NamedTuple

from proxy.errors import UnsupportedValue

#: The languages that Whisper knows, by its codes: ISO 639, except for ``jw`` (Javanese, ``jv``).
WHISPER_CODES: Final = """
af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy id is it ja
jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sd si sk sl sn so sq
sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo yue zh
"""
#: A longer text names no language.
MAX_LENGTH: Final = 100
EXAMPLES: Final = "for example 'en', 'de', 'pt-BR' or 'German'"

#: What callers write who leave the choice to the vendor; ``und`` and ``mul`` are BCP 47.
_AUTOMATIC: Final = frozenset({
    "any", "auto", "autodetect", "automatic", "detect", "mul", "multi", "multilingual", "none", "null", "und",
    "undefined", "unknown",
})  # fmt: skip
#: Other codes for the same language or the nearest one, the closest first.
_ALSO: Final[Mapping[str, tuple[str, ...]]] = {
    "jv": ("jw",),
    "fil": ("tl",),
    "nb": ("no",),
    "no": ("nb",),
    "nn": ("no", "nb"),
    "yue": ("zh-HK", "zh"),
    **dict.fromkeys(("hak", "nan", "wuu"), ("zh",)),
    **dict.fromkeys(("acm", "aeb", "afb", "ajp", "apc", "arq", "ary", "arz"), ("ar",)),
    **dict.fromkeys(("lah", "pnb"), ("pa",)),
}
_QUOTED: Final = re.compile(r"""(["'])(\w.*)\1""")
#: Codes of countries that are often taken for those of languages.
_COUNTRIES: Final = {
    "cn": "zh", "cz": "cs", "dk": "da", "gb": "en", "gr": "el", "jp": "ja", "ua": "uk", "us": "en", "vn": "vi",
}  # fmt: skip
_SCRIPTS: Final = {"CHS": "Hans", "CHT": "Hant"}
_WHISPER: Final = frozenset(WHISPER_CODES.split())
#: Language, extended language (or a country's three letters), script, region; variants and extensions are left out.
_TAG: Final = re.compile(
    r"([a-z]{2,3})(?:-([a-z]{3}))?(?:-([a-z]{4}))?(?:-([a-z]{2}|[0-9]{3}))?(?:-[a-z0-9]{1,8})*", re.IGNORECASE
)
#: Language, script and region. Variants and extensions may be anything.
_CODE: Final = re.compile(r"[a-z]{2,3}(?:[-_][a-z]{4})?(?:[-_](?:[a-z]{2}|[0-9]{3}))?", re.IGNORECASE)
_REGION: Final = re.compile(r"[a-z]{2}|[0-9]{3}")
_SPOKEN_CHINESE: Final = frozenset({"hak", "nan", "wuu", "yue"})
_NEITHER: Final = frozenset({"mis", "zxx"})
_PRIVATE: Final = re.compile(r"q[a-t][a-z]")


class Language(NamedTuple):
    """The subtags of BCP 47: ISO 639 with two letters if possible, ``Hant``, ``TW``; empty if not given."""

    code: str
    script: str = ""
    region: str = ""

    @property
    def tag(self) -> str:
        return "-".join(filter(None, self))


class UnknownLanguage(ValueError):
    """The text names no language."""


class LanguageCodes:
    """The codes by which a vendor's API names languages.

    ``listed``: in the vendor's spelling, separated by blanks. ``means``: what a BCP 47 tag becomes, where the vendor's
    code differs from it in more than case and separator. ``others``: how languages that are not listed are written;
    None refuses them. ``any_region``: a listed language may be sent with any region.
    """

    def __init__(
        self,
        listed: str,
        *,
        means: Mapping[str, str] | None = None,
        others: Literal["ISO 639-1", "ISO 639", "BCP 47"] | None = None,
        any_region: bool = False,
    ) -> None:
        self._listed = tuple(listed.split())
        self._others = others
        self._any_region = any_region
        self._exact = frozenset(self._listed)
        self._codes = {code.lower().replace("_", "-"): code for code in self._listed}
        self._codes |= {tag.lower(): code for tag, code in (means or {}).items()}
        self._languages = frozenset(tag.partition("-")[0] for tag in self._codes)

    @property
    def all(self) -> tuple[str, ...] | None:
        """Every code; None if there are others besides those that are listed."""
        return self._listed if self._others is None else None

    def spell(self, text: str, *, param: str, model: str) -> str:
        """The vendor's code; empty if the vendor is to detect the language. Raises UnsupportedValue."""
        if text in self._exact:
            return text
        if (own := self._codes.get(text.strip().lower().replace("_", "-"))) is not None:
            return own
        try:
            language = parse(text.strip())
        except UnknownLanguage as error:
            raise UnsupportedValue(f"{param} {_quoted(text)} is not a known language: {error}.", param=param) from None
        if language is None:
            return ""
        code = self._code(language)
        if code is None:
            known = f"it takes: {', '.join(self._listed)}" if self.all else f"send a code of {self._others}, {EXAMPLES}"
            raise UnsupportedValue(f"{param} {_quoted(text)} is not supported by '{model}'; {known}.", param=param)
        return code

    def _code(self, language: Language) -> str | None:
        for tag in _tags(language):
            if (code := self._codes.get(tag.lower())) is not None:
                return code
            name, _, region = tag.partition("-")
            if self._any_region and len(region) == 2 and name in self._languages:
                return tag
        if self._others == "BCP 47":
            return language.tag
        if self._others == "ISO 639" or (self._others == "ISO 639-1" and len(language.code) == 2):
            return language.code
        return None


#: Servers that run Whisper.
WHISPER: Final = LanguageCodes(WHISPER_CODES)
#: Servers that run Whisper and other models.
WHISPER_AND_OTHERS: Final = LanguageCodes(WHISPER_CODES, others="ISO 639-1")
#: APIs that take ISO 639-1, whatever the model knows.
ISO_639_1: Final = LanguageCodes(
    " ".join(code for code in WHISPER_CODES.split() if len(code) == 2 and code != "jw"), others="ISO 639-1"
)


def spelled(text: str, codes: LanguageCodes | None, *, param: str = "language", model: str) -> str:
    """As `LanguageCodes.spell`; as the caller wrote it if the vendor has not declared its codes."""
    if codes is not None:
        return codes.spell(text, param=param, model=model)
    plain = text.strip()
    if len(plain) > MAX_LENGTH or not plain.isprintable():
        raise UnsupportedValue(f"{param} {_quoted(text)} is not a known language: send one, {EXAMPLES}.", param=param)
    return "" if _is_automatic(plain) else plain


@lru_cache(maxsize=1024)
def parse(text: str) -> Language | None:
    """The language that a caller means; None for ``auto``. ``text`` is stripped. Raises UnknownLanguage."""
    if len(text) > MAX_LENGTH:
        raise UnknownLanguage(f"send a code or a name, {EXAMPLES}")
    if _is_automatic(text):
        return None
    quoted = _QUOTED.fullmatch(text)
    wide = unicodedata.normalize("NFKC", quoted[2] if quoted else text)
    language = _by_tag(wide) or _by_name(wide) or _by_list(wide)
    if language is None:
        meant = _COUNTRIES.get(text.lower())
        hint = f"it is the code of a country; did you mean '{meant}'" if meant else f"send a code or a name, {EXAMPLES}"
        raise UnknownLanguage(hint)
    return language


def is_known(text: str) -> bool:
    """Whether the text is the code or the name of a language, or ``auto``, and nothing besides."""
    bare = text.strip()
    if len(bare) > MAX_LENGTH:
        return False
    if _is_automatic(bare) or _key(bare) in _tags_by_name():
        return True
    return _CODE.fullmatch(bare) is not None and _by_tag(bare) is not None


def language_code(text: str) -> str:
    """Whisper's code for what a vendor reports: ``en`` for ``English``, ``en-US``, ``eng``. Else it in lower case."""
    if text in _WHISPER:
        return text
    lower = text.strip().lower()
    try:
        language = parse(text.strip())
    except UnknownLanguage:
        return lower
    if language is None:
        return lower
    return next((code for code in (language.code, *_ALSO.get(language.code, ())) if code in _WHISPER), language.code)


def language_name(text: str) -> str:
    """``english`` for ``en``, ``en-US``, ``eng`` and ``English``; an unknown language in lower case."""
    code = language_code(text)
    return _names().get("jv" if code == "jw" else code, code)


# -- reading what callers write ----------------------------------------------------------------------------------------


def _is_automatic(text: str) -> bool:
    return re.sub(r"[\W_]", "", text).lower() in _AUTOMATIC or not text.strip("*-")


def _by_tag(text: str) -> Language | None:
    """``pt_br``, ``zh-Hant-TW``, ``eng``, and the locales of POSIX: ``de_DE.UTF-8``."""
    match = _TAG.fullmatch(re.split(r"[.@]", text.replace("_", "-"), maxsplit=1)[0])
    if match is None:
        return None
    name, extension, script, region = (part or "" for part in match.groups())
    if extension.lower() in _SPOKEN_CHINESE:
        name = extension
    code = _primary(name.lower())
    if code is None:
        return None
    script = _SCRIPTS.get(extension.upper(), script.title())
    return Language(code, script, "GB" if region.upper() == "UK" else region.upper())


def _primary(code: str) -> str | None:
    """ISO 639 with two letters if there are: ``eng``, ``ger``, ``iw``, ``cmn``, ``arz`` → ``en``, ``de``, …"""
    if code in _WHISPER and code not in ("jw", "tl"):
        return code
    return _canonical(code)


@lru_cache(maxsize=1024)
def _canonical(code: str) -> str | None:
    import langcodes

    if code in _NEITHER or _PRIVATE.fullmatch(code) or not langcodes.tag_is_valid(code):
        return None
    return langcodes.standardize_tag(code, macro=True).partition("-")[0]


def _by_name(text: str) -> Language | None:
    """``German``, ``Deutsch``, ``English (US)``, ``Spanish (Peru)``."""
    tags, key = _tags_by_name(), _key(text)
    tag = tags.get(key)
    if tag is None:
        name, _, place = key.rpartition(" ")
        tag = tags.get(name) or tags.get(_key(text.partition("(")[0]))
        if name in tags and _REGION.fullmatch(place) and place != tag:
            tag = f"{tag}-{place}"
    return _by_tag(tag) if tag is not None else None


def _by_list(text: str) -> Language | None:
    """``en-US,en;q=0.9``: several names of one language, the first of which counts."""
    parts = [part.partition(";")[0].strip() for part in text.split(",")]
    languages = [_by_tag(part) or _by_name(part) for part in parts]
    return languages[0] if len({language and language.code for language in languages}) == 1 else None


def _tags(language: Language) -> Iterator[str]:
    """From the most to the least specific: ``zh-Hant-TW``, ``zh-TW``, ``zh-Hant``, ``zh``."""
    for code in (language.code, *_ALSO.get(language.code, ())):
        if language.script and language.region:
            yield f"{code}-{language.script}-{language.region}"
        if language.region:
            yield f"{code}-{language.region}"
        if language.script:
            yield f"{code}-{language.script}"
        yield code


def _key(name: str) -> str:
    """Without case, accents and punctuation."""
    letters = unicodedata.normalize("NFKD", name).casefold()
    return " ".join(re.sub(r"[\W_]+", " ", "".join(c for c in letters if not unicodedata.combining(c))).split())


@cache
def _table() -> tuple[tuple[str, ...], ...]:
    lines = Path(__file__).with_name("language_names.tsv").read_text("utf-8").splitlines()
    return tuple(tuple(line.split("\t")) for line in lines)


@cache
def _names() -> Mapping[str, str]:
    return {code: name for code, name, *_ in _table()}


@cache
def _tags_by_name() -> Mapping[str, str]:
    return {_key(name): tag for tag, *names in _table() for name in names}


def _quoted(text: str) -> str:
    return f"{text[:50]!a}"
