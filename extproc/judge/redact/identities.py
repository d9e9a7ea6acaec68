"""National numbers of persons: by form and check digit, and near a word for them where digits alone say too little."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from stdnum import luhn
from stdnum.at import vnr
from stdnum.be import nn
from stdnum.bg import egn
from stdnum.br import cpf
from stdnum.ca import sin
from stdnum.ch import ssn as ahv
from stdnum.cl import rut
from stdnum.cn import ric
from stdnum.cz import rc
from stdnum.de import idnr
from stdnum.dk import cpr
from stdnum.ee import ik
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.gr import amka
from stdnum.hr import oib
from stdnum.ie import pps
from stdnum.in_ import aadhaar, pan
from stdnum.it import codicefiscale
from stdnum.jp import in_ as my_number
from stdnum.kr import rrn
from stdnum.mx import curp
from stdnum.nl import bsn
from stdnum.no import fodselsnummer
from stdnum.pl import pesel
from stdnum.pt import nif
from stdnum.ro import cnp
from stdnum.se import personnummer
from stdnum.tr import tckimlik
from stdnum.us import itin, ssn
from stdnum.za import idnr as south_african

from extproc.judge.redact.digits import Run, stands_free
from extproc.judge.redact.finds import Find, Kind

Check = Callable[[str], bool]

_CONTEXT: Final = re.compile(
    r"\bssn\b|\bsin\b|social[ _-]?(?:security|insurance)|national[ _-]?(?:id|insurance|identity|registration)|"
    r"\bitin\b|\bnino\b|\bnhs\b|\btax[ _-]?(?:id|number|payer)|"
    r"\btin\b|identity (?:number|card|no)|\bid[ _-]?(?:card|number|no\b|nr)|steuer[ _-]?(?:id|nummer|"
    r"identifikation)|identifikationsnummer|idnr|"
    r"sozialversicherung|\bsvnr|ausweis|\bnir\b|s[eé]curit[eé] sociale|num[eé]ro de s[eé]cu|\bn[ií]f\b|"
    r"\bdni\b|\bnie\b|documento|identidad|codice fiscale|"
    r"\bbsn\b|burgerservice|sofinummer|pesel|personnummer|personal number|\bcpr\b|f[oø]dselsnummer|hetu|"
    r"henkil[oö]tunnus|\bcpf\b|aadhaa?r|uidai|आधार|"
    r"\bahv|\bavs\b|rijksregister|registre national|rodn[eé]|\bcnp\b|\bamka\b|\bpps|\boib\b|\begn\b|isikukood|"
    r"asmens|kimlik|\bcurp\b|\brut\b|my ?number|"
    r"マイナンバー|身份证|주민등록|contribuinte|паспорт|passport|reisepass|passeport|pasaporte|passaporto",
)
BEFORE: Final = 60
"""Characters before a number in which a word says what it is."""
AFTER: Final = 16
"""Characters behind it: `... (SSN)`."""


@dataclass(frozen=True, slots=True)
class _Form:
    """A number whose own form and check digit are enough."""

    pattern: re.Pattern[str]
    check: Check


def _form(pattern: str, check: Check) -> _Form:
    return _Form(re.compile(rf"(?<![A-Za-z0-9])(?<![0-9][.-]){pattern}(?![A-Za-z0-9])(?![.-][0-9])", re.IGNORECASE), check)


def _always(_: str) -> bool:
    return True


_DASH: Final = "[ -]"
_FORMS: Final = (
    _form(r"[0-9]{3}-[0-9]{2}-[0-9]{4}", lambda number: ssn.is_valid(number) or itin.is_valid(number)),
    _form(
        rf"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]{_DASH}?[0-9]{{2}}{_DASH}?[0-9]{{2}}{_DASH}?[0-9]{{2}}{_DASH}?[A-D]",
        _always,
    ),
    _form(r"[0-9]{2} [0-9]{3} [0-9]{3} [0-9]{3}", idnr.is_valid),
    _form(r"[12][ .-]?[0-9]{2}[ .-]?[0-9]{2}[ .-]?[0-9][0-9AB][ .-]?[0-9]{3}[ .-]?[0-9]{3}[ .-]?[0-9]{2}", nir.is_valid),
    _form(r"[0-9]{2}\.?[0-9]{3}\.?[0-9]{3}[ -]?[A-HJ-NP-TV-Z]", lambda number: dni.is_valid(number.replace(".", ""))),
    _form(r"[XYZ][ -]?[0-9]{7}[ -]?[A-HJ-NP-TV-Z]", nie.is_valid),
    _form(r"[A-Z]{3} ?[A-Z]{3} ?[0-9LMNP-V]{2}[A-EHLMPRST][0-9LMNP-V]{2} ?[A-Z][0-9LMNP-V]{3}[A-Z]", codicefiscale.is_valid),
    _form(r"(?:[0-9]{2})?[0-9]{6}[-+][0-9]{4}", personnummer.is_valid),
    _form(r"[0-9]{6}[-+A-FU-Y][0-9]{3}[0-9A-Y]", hetu.is_valid),
    _form(r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", cpf.is_valid),
    _form(r"(?<![0-9] )[2-9][0-9]{3}[ -][0-9]{4}[ -][0-9]{4}(?! [0-9])", aadhaar.is_valid),
    _form(r"756[. ]?[0-9]{4}[. ]?[0-9]{4}[. ]?[0-9]{2}", ahv.is_valid),
    _form(r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}", nn.is_valid),
    _form(r"[0-9]{6}/[0-9]{3,4}", rc.is_valid),
    _form(r"[A-Z]{4}[0-9]{6}[HM][A-Z]{5}[0-9A-Z][0-9]", curp.is_valid),
    _form(r"[0-9]{17}[0-9X]", ric.is_valid),
    _form(r"[0-9]{6}-[1-8][0-9]{6}", rrn.is_valid),
    _form(r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9K]", rut.is_valid),
    _form(r"[0-9]{6} [0-9]{5}", fodselsnummer.is_valid),
)
_BESIDE: Final = (
    _form(r"[A-Z]{3}[ABCFGHLJPT][A-Z][0-9]{4}[A-Z]", pan.is_valid),
    _form(r"[0-9]{7}[A-W][A-IW]?", pps.is_valid),
    _form(r"[0-9]{3}-[0-9]{2}-[0-9]{4}", _always),
    _form(r"[A-Z]{0,2}[0-9]{6,9}[A-Z]?", lambda number: not number.isdigit() or len(number) == 9),
)
"""Forms that count near a word only: India's PAN, Ireland's PPS; passports, which have no check digit of their own."""
_PASSPORT: Final = _BESIDE[-1]
_PASSPORT_WORD: Final = re.compile(r"passport|reisepass|passeport|pasaporte|passaporto|паспорт|ausweis")

_DIGITS: Final[dict[int, tuple[Check, ...]]] = {
    9: (ssn.is_valid, itin.is_valid, bsn.is_valid, sin.is_valid, nif.is_valid, rc.is_valid),
    10: (nhs.is_valid, vnr.is_valid, personnummer.is_valid, cpr.is_valid, rc.is_valid, egn.is_valid),
    11: (
        *(idnr.is_valid, pesel.is_valid, cpf.is_valid, nn.is_valid, fodselsnummer.is_valid),
        *(amka.is_valid, oib.is_valid, ik.is_valid, tckimlik.is_valid),
    ),
    12: (aadhaar.is_valid, my_number.is_valid, lambda digits: luhn.is_valid(digits[2:])),
    13: (ahv.is_valid, cnp.is_valid, south_african.is_valid, rrn.is_valid),
    15: (nir.is_valid,),
}
"""Digits -> the numbers that have so many, near a word for any of them."""
_LENGTHS: Final = frozenset(_DIGITS)


def identities(text: str, low: str, zone: tuple[int, int], found: Iterable[Run]) -> Iterator[Find]:
    """`low`: the text in lower case. `found`: the runs of digits of this zone."""
    is_near = partial(_is_near, low, _CONTEXT)
    for form in _FORMS:
        for one in form.pattern.finditer(text, *zone):
            if form.check(one[0]):
                yield Find(one.start(), one.end(), Kind.NATIONAL_ID)
    for form in _BESIDE:
        near = partial(_is_near, low, _PASSPORT_WORD) if form is _PASSPORT else is_near
        for one in form.pattern.finditer(text, *zone):
            if form.check(one[0]) and near(one.start(), one.end()):
                yield Find(one.start(), one.end(), Kind.NATIONAL_ID)
    for run in found:
        if len(run.digits) >= min(_LENGTHS) and is_near(run.places[0], run.places[-1] + 1, whole=True):
            for window in run.windows(_LENGTHS):
                checks = _DIGITS[len(window.digits)]
                is_free = is_near(window.start, window.end) and stands_free(text, window.start, window.end)
                if is_free and any(check(window.digits) for check in checks):
                    yield Find(window.start, window.end, Kind.NATIONAL_ID)


def _is_near(low: str, word: re.Pattern[str], start: int, end: int, whole: bool = False) -> bool:
    """Before or behind; with `whole`, also between: some part may be near a word that stands there."""
    if whole:
        return word.search(low, max(0, start - BEFORE), end + AFTER) is not None
    return bool(word.search(low, max(0, start - BEFORE), start) or word.search(low, end, end + AFTER))
