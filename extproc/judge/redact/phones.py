"""Telephone numbers, by the metadata of libphonenumber (library `phonenumbers`).

Its matcher alone takes order numbers for telephones: a tenth of all ten-digit numbers are valid in the United States. So a number counts
* with + or 00 before it, where it is valid;
* in national form with a leading 0 or an area code in brackets, or as 3-3-4 or 5-5 digits, where it is also grouped as that country does;
* in any form near a word such as call, phone, Handy, where it is valid.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from phonenumbers import Leniency, PhoneNumberMatcher

from extproc.judge.redact.finds import Find, Kind

_CANDIDATE: Final = re.compile(
    r"(?:[+(](?<![A-Za-z0-9_].)[+(]?[0-9]|[0-9](?<![A-Za-z0-9_].)(?<![0-9][.:/-].)(?<![.+(].))"
    r"(?:[ ().\-/]{0,3}[0-9]){6,17}(?![A-Za-z0-9_]|[.-]?[0-9])"
    r"(?:\s?(?:ext\.?|x|extension|durchwahl|poste)\s?[0-9]{1,6}(?![0-9]))?",
    re.IGNORECASE,
)
_INTERNATIONAL: Final = re.compile(r"\(?\+|00[ ]?[1-9]|011[ -][1-9]")
_NATIONAL: Final = re.compile(
    r"\(?0[0-9 ().\-/]*[ ().\-/]|\([0-9]{2,5}\)|1?[ .-]?[2-9][0-9]{2}([-. ])[2-9][0-9]{2}\1[0-9]{4}$|[6-9][0-9]{4}[ -][0-9]{5}$"
)
_DATE: Final = re.compile(
    r"(?:19|20)[0-9]{2}[-./ ]?[01]?[0-9][-./ ]?[0-3]?[0-9]|[0-3]?[0-9][-./][01]?[0-9][-./](?:19|20)?[0-9]{2}(?![.]?[0-9])"
)
_OTHERWISE: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}$|[0-9]+\.[0-9]+$|[0-9]{5}-[0-9]{4}$")
"""An IP address; a decimal number; a postal code of the United States."""
_WORD: Final = re.compile(
    r"\bcall|phone|\btel\b|\bmob(?:ile|\.|:)|\bcell|whatsapp|\bfax|\bsms\b|text me|telefon|handy|rufnummer|\banruf|mobil|"
    r"t[eé]l[eé]phone|portable|appele|t[eé]l[eé]fono|celular|m[oó]vil|ll[aá]ma|\bcellulare|chiama|bel me|telefoon|gsm|"
    r"dzwo|kom[oó]rk|ring mig|"
    r"my number|meine nummer|mi n[uú]mero|mon num[eé]ro|телефон|звон|电话|手机|電話|फ़ोन",
    re.IGNORECASE,
)
_OTHER: Final = re.compile(
    r"order|invoice|ticket|tracking|account|case|\bref|serial|model|\bsku|\bisbn|\bid\b|rechnung|bestell|commande|pedido|factura|item|timestamp",
    re.IGNORECASE,
)
BEFORE: Final = 32
"""Characters before a number in which a word says that it is a telephone's; nothing else may be named between them."""


def phones(text: str, zone: tuple[int, int], regions: tuple[str, ...]) -> Iterator[Find]:
    """`regions`: ISO 3166 codes of the countries whose national forms count, in this order."""
    for found in _CANDIDATE.finditer(text, *zone):
        number = found[0]
        if _INTERNATIONAL.match(number):
            yield from _matched(found, number, regions[:1] if number.startswith("(+") else ("DE", "US"), Leniency.VALID)
        elif _OTHERWISE.match(number) or _DATE.match(number):
            continue
        elif _is_near(text, found.start()):
            yield from _matched(found, number, regions, Leniency.VALID)
        elif _NATIONAL.match(number):
            yield from _matched(found, number, regions, Leniency.STRICT_GROUPING)


def _is_near(text: str, start: int) -> bool:
    words = list(_WORD.finditer(text, max(0, start - BEFORE), start))
    return bool(words) and _OTHER.search(text, words[-1].end(), start) is None


def _matched(found: re.Match[str], number: str, regions: tuple[str, ...], leniency: int) -> Iterator[Find]:
    """What the library finds in a candidate; the first region that finds something."""
    for region in regions:
        matches = [(match.start, match.end) for match in PhoneNumberMatcher(number, region, leniency, max_tries=8)]
        if matches:
            yield from (Find(found.start() + start, found.start() + end, Kind.PHONE) for start, end in matches)
            return
