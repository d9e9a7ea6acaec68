"""`Redactor`: compiled once, pure, for whole texts. Streams are joined before: a secret in two pieces is none in either."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from phonenumbers import SUPPORTED_REGIONS

from extproc.errors import Problem, SpecError
from extproc.judge.redact import custom
from extproc.judge.redact.addresses import addresses
from extproc.judge.redact.cards import cards, ibans
from extproc.judge.redact.digits import runs, zones
from extproc.judge.redact.emails import emails
from extproc.judge.redact.finds import CUT, MARK, Find, Kind, marker, merged
from extproc.judge.redact.identities import identities
from extproc.judge.redact.keys import in_urls, keys
from extproc.judge.redact.named import named
from extproc.judge.redact.phones import phones
from extproc.judge.redact.view import View, Viewer

REGIONS: Final = ("US", "GB", "DE", "FR", "ES", "IT", "NL", "PL", "SE", "BR", "IN", "CH")
"""Countries whose national forms of telephone numbers count by default; with + before them, all countries' do."""
LONGEST: Final = 1_000_000
"""Characters that are read; a longer text is cut here. The largest context windows hold some four million."""
EDGE: Final = 128
"""Characters before a cut in which half a secret may stand in pieces: a card or an IBAN takes 50, a password of several words more."""
ROUNDS: Final = 8
"""Readings of a text; the second one confirms what the first has left. What still changes after so many was made to do so, and `[cut]` is
all that is left of it."""

_HALVES: Final = re.compile(r"[\ud800-\udfff]")
"""Halves of surrogate pairs: UTF-8, which RE2 reads, has none."""
_PARTS: Final = " \t\r\n\"'<>{}"
"""What a secret in one piece does not have."""


@dataclass(frozen=True, slots=True)
class Redacted:
    """A text without what was found in it."""

    text: str
    found: Mapping[str, int] = field(default_factory=dict)
    """Kind or name of a custom pattern -> how often; only what was found."""


class Redactor:
    """Finds and replaces. Redacting what was redacted changes nothing."""

    def __init__(self, patterns: Mapping[str, str] | None = None, regions: tuple[str, ...] = REGIONS) -> None:
        """`patterns`: name -> RE2 pattern, the name is the marker's. `regions`: ISO 3166 codes, as upper case; () for no telephones at all.

        Raises SpecError with all Problems of both.
        """
        patterns = patterns or {}
        problems = custom.problems_of(patterns, "redact.patterns")
        problems += [
            Problem(
                "redact.region", f"redact.regions[{i}]", f"{region!r} is no country that has telephones", "Two capital letters, such as DE."
            )
            for i, region in enumerate(regions)
            if region not in SUPPORTED_REGIONS
        ]
        if problems:
            raise SpecError(problems)
        self._patterns = custom.compiled(patterns)
        self._regions = regions
        self._viewer = Viewer((*Kind, *patterns))

    def redact(self, text: str) -> Redacted:
        """The text with markers such as `[email]`. Never raises. A text of more than LONGEST characters is cut as by `redact_truncated`."""
        return self._whole(text) if len(text) <= LONGEST else self.redact_truncated(text, LONGEST)

    def redact_truncated(self, text: str, limit: int) -> Redacted:
        """For a text that was cut, or is cut here, at `limit` characters: half a secret at its end may look like none.

        A text that has at least `limit` characters is taken to be cut there; one that is shorter is whole. After redaction the last EDGE
        characters go, the word before them too, and `[cut]` takes their place. So what is cut elsewhere is given `limit=len(text)`.
        """
        limit = min(limit, LONGEST)
        if len(text) < limit:
            return self._whole(text)
        redacted = self._whole(text[: max(0, limit)])
        return Redacted(self._whole(_without_edge(redacted.text)).text, redacted.found)

    def finds(self, text: str) -> list[tuple[int, int, str]]:
        """(start, end, kind) of what one reading of a text finds, in order, apart from each other."""
        view = self._viewer.full(text)
        found = [_placed(view, find) for find in self._read(view.text)]
        if "://" in text or self._patterns:
            plain = self._viewer.plain(text)
            found += [_placed(plain, find) for find in in_urls(plain.text)]
            found += [_placed(plain, find) for find in custom.finds(self._patterns, _HALVES.sub("\ufffd", plain.text))]
        return [(find.start, find.end, str(find.kind)) for find in merged(found)]

    def is_marker(self, text: str) -> bool:
        """Nothing but a marker, as an earlier redaction left it."""
        return self._viewer.plain(text).text.strip() == MARK

    def _read(self, text: str) -> Iterator[Find]:
        """All finders over the text of a view."""
        low = text.lower()
        yield from emails(text, low)
        yield from keys(text, low)
        yield from named(text, low)
        yield from in_urls(text)
        yield from custom.finds(self._patterns, text)
        yield from addresses(text)
        for zone in zones(text):
            found = tuple(runs(text, *zone))
            yield from cards(text, found)
            yield from ibans(text, zone)
            yield from identities(text, low, zone, found)
            if self._regions:
                yield from phones(text, zone, self._regions)

    def _whole(self, text: str) -> Redacted:
        counts: Counter[str] = Counter()
        for _ in range(ROUNDS):
            found = self.finds(text)
            if not found:
                return Redacted(text, dict(counts))
            counts.update(kind for _, _, kind in found)
            text = replaced(text, found)
        return Redacted(marker(CUT), dict(counts))


def replaced(text: str, found: Iterable[tuple[int, int, str]]) -> str:
    """A text with a marker in the place of each find."""
    out: list[str] = []
    done = 0
    for start, end, kind in found:
        out += (text[done:start], marker(kind))
        done = end
    return "".join((*out, text[done:]))


def _placed(view: View, find: Find) -> Find:
    start, end = view.place(find.start, find.end)
    return Find(start, end, find.kind)


def _without_edge(text: str) -> str:
    """What stands before the last EDGE characters and the word that they are in; markers are words, so none is cut."""
    edge = max(0, len(text) - EDGE)
    last = max(text.rfind(part, 0, edge) for part in _PARTS)
    return text[: last + 1] + marker(CUT)
