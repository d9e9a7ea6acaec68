"""What finders speak in: `Kind`, `Find`, and the markers that take the place of finds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What was found; the word in its marker."""

    EMAIL = "email"
    PHONE = "phone"
    CARD = "card"
    IBAN = "iban"
    NATIONAL_ID = "national-id"
    IP = "ip"
    KEY = "key"
    """A credential whose own form says whose it is: an AWS key, a private key block."""
    TOKEN = "token"
    """A credential that is told by where it stands: behind `Bearer`, beside `api_key`; a JWT."""
    PASSWORD = "password"
    """A password by its name, or user and password in a URL."""


CUT: Final = "cut"
"""The word of the marker at the end of a text that was cut; no kind, as nothing was found."""
MARK: Final = "\ufffc"
"""What a marker is in a view: one character that no finder takes for a part of anything."""

_RANKS: Final = (
    *(Kind.PHONE, Kind.EMAIL, Kind.PASSWORD, Kind.NATIONAL_ID, Kind.IP, Kind.CARD, Kind.IBAN),
    *(Kind.TOKEN, Kind.KEY),
)
"""From the least specific to the most: where finds overlap, the most specific one names the whole."""
_RANK: Final = {kind.value: rank for rank, kind in enumerate(_RANKS)}


@dataclass(frozen=True, slots=True, order=True)
class Find:
    """`text[start:end]` is of this kind (a `Kind`, or the name of a custom pattern)."""

    start: int
    end: int
    kind: str

    @property
    def weight(self) -> tuple[int, int]:
        """Compares finds that overlap: custom patterns are the most specific, then by rank, then by length."""
        return _RANK.get(self.kind, len(_RANK)), self.end - self.start


def merged(finds: Iterable[Find]) -> Iterator[Find]:
    """Finds in order; those that overlap become one that covers all of them, so that no part of any is left."""
    whole: Find | None = None
    best: Find | None = None
    for find in sorted(finds):
        if whole is None or best is None:
            whole = best = find
        elif find.start < whole.end:
            best = max(best, find, key=lambda one: one.weight)
            whole = Find(whole.start, max(whole.end, find.end), best.kind)
        else:
            yield whole
            whole = best = find
    if whole is not None:
        yield whole


def marker(word: str) -> str:
    """`[email]`."""
    return f"[{word}]"
