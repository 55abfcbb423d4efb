"""Finds personal data in a text: one function per entity, each linear in the length of the text.

The ``phonenumbers`` library finds phone numbers and ``ipaddress`` checks IP addresses. The check digits of cards (Luhn,
ISO/IEC 7812) and bank accounts (ISO 7064 mod 97-10, ISO 13616) are implemented here: the available libraries are under
the LGPL or include megabytes of bank data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any, Final

#: Start and end of each match.
Positions = Iterator[tuple[int, int]]

# -- card numbers ------------------------------------------------------------------------------------------------------

_SEPARATORS: Final = r"[\s.,/_\-\u2010-\u2015\u2212]{0,3}"
#: 13 digits or more, with or without separators.
_CARD_RUN: Final = re.compile(rf"\d(?:{_SEPARATORS}\d){{12,}}")
_DIGITS: Final = re.compile(r"\d+")
#: The first digits and the lengths of each brand's numbers.
_BRANDS: Final = (
    (re.compile("4"), (13, 16, 19)),
    (re.compile("5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),
    (re.compile("3[47]"), (15,)),
    (re.compile("6011|64[4-9]|65|62|81"), (16, 17, 18, 19)),
    (re.compile("30[0-5]|3095|36|3[89]"), (14, 15, 16, 17, 18, 19)),
    (re.compile("35(?:2[89]|[3-8])"), (16, 17, 18, 19)),
    (re.compile("50|5[6-9]|6[0-9]"), (13, 14, 15, 16, 17, 18, 19)),
    (re.compile("220[0-4]"), (16, 17, 18, 19)),
    (re.compile("9792"), (16,)),
)
_LENGTHS: Final = range(13, 20)
_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def credit_cards(text: str) -> Positions:
    """Numbers that begin and end at a group of digits, so never a part of a longer group."""
    for run in _CARD_RUN.finditer(text):
        groups = list(_DIGITS.finditer(text, run.start(), run.end()))
        for first, group in enumerate(groups):
            digits = ""
            for last in groups[first:]:
                digits += last[0]
                if len(digits) > _LENGTHS[-1]:
                    break
                if len(digits) in _LENGTHS and _is_card(digits):
                    yield group.start(), last.end()


def _is_card(digits: str) -> bool:
    return any(len(digits) in lengths and brand.match(digits) for brand, lengths in _BRANDS) and passes_luhn(digits)


def passes_luhn(digits: str) -> bool:
    return (sum(map(int, digits[-1::-2])) + sum(_DOUBLED[int(digit)] for digit in digits[-2::-2])) % 10 == 0


# -- bank accounts -----------------------------------------------------------------------------------------------------

_IBAN_START: Final = re.compile(r"(?<![^\W_])[A-Za-z][ .\-]?[A-Za-z][ .\-]?\d[ .\-]?\d")
_IBAN_CHARACTER: Final = re.compile(r"[ .,\-\u2010-\u2015]{0,2}([A-Za-z0-9])")
#: The length of an IBAN, by country. Source: SWIFT's IBAN registry, release 99.
_IBAN_LENGTHS: Final[Mapping[str, int]] = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FK FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HN HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip


def ibans(text: str) -> Positions:
    for match in _IBAN_START.finditer(text):
        letters, end = "", match.start()
        length = 34
        while len(letters) < length and (following := _IBAN_CHARACTER.match(text, end)):
            letters += following[1].upper()
            end = following.end()
            if len(letters) == 2:
                length = _IBAN_LENGTHS.get(letters, 0)
        if len(letters) == length and _is_iban(letters):
            yield match.start(), end


def _is_iban(letters: str) -> bool:
    turned = letters[4:] + letters[:4]
    return int("".join(str(int(char, 36)) for char in turned)) % 97 == 1


# -- e-mail addresses --------------------------------------------------------------------------------------------------

_BEFORE_AT: Final = frozenset("._%+-'!#$&*/=?^`{|}~")
_AFTER_AT: Final = re.compile(r"(?:[^\W_](?:[\w-]{0,62})\.){1,8}[^\W\d_][\w-]{1,62}")
_MAX_LOCAL_LENGTH: Final = 64


def emails(text: str) -> Positions:
    at = text.find("@")
    while at >= 0:
        start = at
        while start > max(0, at - _MAX_LOCAL_LENGTH) and (text[start - 1].isalnum() or text[start - 1] in _BEFORE_AT):
            start -= 1
        domain = _AFTER_AT.match(text, at + 1)
        if domain is not None and start < at:
            yield start, domain.end()
        at = text.find("@", at + 1)


# -- IP addresses ------------------------------------------------------------------------------------------------------

_IPV4: Final = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\.?\d)")
_IPV6: Final = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{2,39}(?:(?<=:)\d{1,3}(?:\.\d{1,3}){3})?(?![\w:])")


def ip_addresses(text: str) -> Positions:
    for match in _IPV4.finditer(text):
        if _parses(IPv4Address, match[0]):
            yield match.span()
    for match in _IPV6.finditer(text):
        if match[0].count(":") > 1 and match[0].strip(":") and _parses(IPv6Address, match[0]):
            yield match.span()


def _parses(kind: Callable[[str], object], address: str) -> bool:
    try:
        kind(address)
    except AddressValueError:
        return False
    return True


# -- phone numbers -----------------------------------------------------------------------------------------------------

_SEVEN_DIGITS: Final = re.compile(r"\d(?:[^\w\n]{0,4}\d){6,}")


def phones(text: str, regions: Sequence[str]) -> Positions:
    """Numbers with a country code, and numbers of ``regions`` (``US``, ``DE``…) without one."""
    if _SEVEN_DIGITS.search(text) is None:
        return
    matcher, leniency = _phone_library()
    for region in regions:
        for match in matcher(text, region, leniency=leniency):
            yield match.start, match.end


@cache
def _phone_library() -> tuple[Any, Any]:
    """Loaded on first use: most configurations do not look for phone numbers."""
    from phonenumbers import Leniency, PhoneNumberMatcher

    return PhoneNumberMatcher, Leniency.VALID


# -- social security numbers -------------------------------------------------------------------------------------------

_SSN: Final = re.compile(r"(?<!\d)(?!000|666|9)\d{3}[\s.\-]{1,3}(?!00)\d\d[\s.\-]{1,3}(?!0000)\d{4}(?!\d)")


def social_security_numbers(text: str) -> Positions:
    for match in _SSN.finditer(text):
        yield match.span()


def by_name(regions: Iterable[str]) -> Mapping[str, Callable[[str], Positions]]:
    """The finders, in the order of precedence: the first name wins if several find the same."""
    regions = tuple(regions)
    return {
        "CREDIT_CARD": credit_cards,
        "IBAN": ibans,
        "US_SSN": social_security_numbers,
        "EMAIL": emails,
        "IP": ip_addresses,
        "PHONE": lambda text: phones(text, regions),
    }
