"""Runs of digits with what people put between them, as cards and national numbers are written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_RUN: Final = re.compile(r"[0-9](?:(?:[ ._/\-]{1,3}|[ ,]?\r?\n[> \t]{0,8})?[0-9]){7,}")
"""Eight digits or more; a line may end between them, also in a quoted mail."""
_ZONE: Final = re.compile(r"[0-9](?:[^0-9]{0,12}[0-9]){5,}")
"""Six digits or more, not far from each other: a British insurance number has six, a Maltese IBAN ten letters between two."""
MARGIN: Final = 32
"""Characters around a zone: letters that belong to its numbers, words that touch them."""
_DIGIT: Final = re.compile(r"[0-9]")
LONGEST_WORD: Final = 24
"""Characters before a number that are read to see whether it stands in a word."""


@dataclass(frozen=True, slots=True)
class Window:
    """Some digits of a run that begin and end where groups do."""

    digits: str
    start: int
    end: int
    groups: tuple[int, ...]
    """How many digits each group has."""


@dataclass(frozen=True, slots=True)
class Run:
    """All digits of a run, and where each is."""

    digits: str
    places: tuple[int, ...]

    def windows(self, lengths: frozenset[int]) -> Iterator[Window]:
        """Every part of whole groups that has one of so many digits."""
        firsts = [0] + [i for i in range(1, len(self.digits)) if self.places[i] != self.places[i - 1] + 1] + [len(self.digits)]
        for i, first in enumerate(firsts[:-1]):
            for j in range(i + 1, len(firsts)):
                length = firsts[j] - first
                if length > max(lengths):
                    break
                if length in lengths:
                    groups = tuple(firsts[k + 1] - firsts[k] for k in range(i, j))
                    yield Window(self.digits[first : firsts[j]], self.places[first], self.places[firsts[j] - 1] + 1, groups)


def zones(text: str) -> list[tuple[int, int]]:
    """Parts of a text in which numbers of persons, accounts or telephones may stand, with MARGIN around them. Most texts have few."""
    found: list[tuple[int, int]] = []
    for zone in _ZONE.finditer(text):
        start, end = max(0, zone.start() - MARGIN), min(len(text), zone.end() + MARGIN)
        if found and start <= found[-1][1]:
            start, _ = found.pop()
        found.append((start, end))
    return found


def runs(text: str, start: int, end: int) -> Iterator[Run]:
    """Of a zone."""
    for found in _RUN.finditer(text, start, end):
        places = tuple(digit.start() for digit in _DIGIT.finditer(text, found.start(), found.end()))
        yield Run("".join(text[place] for place in places), places)


def stands_free(text: str, start: int, end: int) -> bool:
    """Not a part of a decimal number, a hash or an identifier: letters may touch it only where they are a word, as in `card4111...`."""
    first = start
    while first > max(0, start - LONGEST_WORD) and text[first - 1].isascii() and text[first - 1].isalnum():
        first -= 1
    before = text[first:start]
    if before and (not before.isalpha() or len(before) == 1 or text[first - 1 : first] == "-"):
        return False
    if start > 1 and text[start - 1] == "." and text[start - 2].isdigit():
        return False
    after = text[end : end + 2]
    return not (after[:1].isascii() and after[:1].isalnum()) and not (after[:1] == "." and after[1:].isdigit())
