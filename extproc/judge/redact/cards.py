"""Payment cards and IBANs: their check digits leave little to chance."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from stdnum import iban, luhn

from extproc.judge.redact.digits import Run, Window, stands_free
from extproc.judge.redact.finds import Find, Kind

_ISSUERS: Final = (
    (re.compile(r"4"), frozenset({13, 16, 19})),  # Visa
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), frozenset({16})),  # Mastercard
    (re.compile(r"3[47]"), frozenset({15})),  # American Express
    (re.compile(r"30[0-59]|3[689]"), frozenset({14, 16, 19})),  # Diners Club
    (re.compile(r"35(?:2[89]|[3-8])"), frozenset({16, 19})),  # JCB
    (re.compile(r"6011|64[4-9]|65|62|81|60|82|508"), frozenset({16, 19})),  # Discover, UnionPay, RuPay
    (re.compile(r"220[0-4]|9792|1946|50|5[6-8]|6[0-9]"), frozenset({16, 18, 19})),  # Mir, Troy, BC, Maestro and Elo
)
"""Prefix -> lengths, as the issuers publish them."""
_LENGTHS: Final = frozenset({13, 14, 15, 16, 18, 19})
_WEAK: Final = frozenset({13, 14, 18})
"""Lengths that timestamps, articles and shipments have as well: only near a word for a card."""
_CONTEXT: Final = re.compile(
    r"card|karte|carte|tarjeta|cart[aã]o|carta|kort|kaart|karta|kart|visa|mastercard|maestro|amex|diners|jcb|unionpay|credit|debit|pan\b|карт|卡|カード",
    re.IGNORECASE,
)
BEFORE: Final = 60
"""Characters before a number in which a word says what it is."""


def cards(text: str, found: Iterable[Run]) -> Iterator[Find]:
    """Of the runs of a text: Luhn, issuer and length, and grouped as cards are."""
    for run in found:
        if len(run.digits) >= min(_LENGTHS):
            for window in run.windows(_LENGTHS):
                if _is_issued(window.digits) and luhn.is_valid(window.digits) and stands_free(text, window.start, window.end):
                    near = _CONTEXT.search(text, max(0, window.start - BEFORE), window.start) is not None
                    if near or (len(window.digits) not in _WEAK and _is_grouped(window)):
                        yield Find(window.start, window.end, Kind.CARD)


def _is_issued(digits: str) -> bool:
    return len(set(digits)) > 1 and any(len(digits) in lengths and prefix.match(digits) for prefix, lengths in _ISSUERS)


def _is_grouped(window: Window) -> bool:
    groups = window.groups
    return (
        len(groups) == 1
        or (len(groups) == 2 and groups[0] >= 4)
        or all(size == 4 for size in groups[:-1])
        or groups in ((4, 6, 5), (4, 6, 4))
        or set(groups) == {1}
        or (len(groups) <= 5 and all(size % 4 == 0 for size in groups))
    )


_SEPARATOR: Final = r"(?:[ .\-]{1,2}|[ ]?\r?\n[> \t]{0,8})?"
_IBAN: Final = re.compile(rf"(?<![A-Za-z0-9])(?:IBAN)?([A-Z]{{2}}{_SEPARATOR}[0-9]{{2}}(?:{_SEPARATOR}[A-Z0-9]){{11,30}})", re.IGNORECASE)
SHORTEST_IBAN: Final = 15
"""Norway's."""


def ibans(text: str, zone: tuple[int, int]) -> Iterator[Find]:
    """In a zone, of countries that have one: length, form and remainder; what a word behind it adds is left."""
    for found in _IBAN.finditer(text, *zone):
        places = [i for i in range(found.start(1), found.end(1)) if text[i].isalnum()]
        for length in range(len(places), SHORTEST_IBAN - 1, -1):
            end = places[length - 1] + 1
            if not text[end : end + 1].isalnum() and iban.is_valid("".join(text[i] for i in places[:length]).upper(), check_country=False):
                yield Find(found.start(1), end, Kind.IBAN)
                break
