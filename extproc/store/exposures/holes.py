"""What several lists together do not have: the time in which no controller heard, and what each of them says that it has lost.

Only one controller leads at a time. So where one says that it was stopped or dead, another one's list may have that time, and nothing is
missing; but whatever a controller has lost of what it should have heard (a full disk, entries of Envoy that did not arrive), no other one
has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from extproc.store.exposures.file import SLACK
from extproc.store.exposures.gaps import Cause, Gap, guessed
from extproc.store.exposures.reading import Summary
from extproc.store.exposures.wanted import SILENT_AFTER

SETTLES: Final = 2.0
"""Seconds after a list has begun in which an Envoy may not have found its way there; the first list of all begins when it begins. The
controller waits as long for its Evidence (WARM_UP)."""
SLOWEST_START: Final = 60.0
"""Seconds from an election to the beginning of a list, at most; a disk that takes nothing for longer says so in its list."""
_ABSENT: Final = frozenset((Cause.KILLED, Cause.STOPPED, Cause.SILENT))
"""Nobody listened here."""
_FOREVER: Final = float("inf")

Span = tuple[float, float]
"""From, until (Unix seconds)."""


def gaps_of_all(lists: Sequence[Summary], now: float) -> list[Gap]:
    """Oldest first. `now`: when they were read (Unix seconds)."""
    if not lists:
        return []
    newest = max(lists, key=lambda one: one.as_of)
    lists = [_up_to_its_end(one, now, one is newest) for one in lists]
    first = min(one.began for one in lists)
    heard = _joined(span for one in lists for span in _heard(one, first))
    found = [_named(gap, one) for one in lists for gap in one.gaps if gap.cause not in _ABSENT]
    ends = [first, *(edge for span in heard for edge in span), _FOREVER]
    found += [_hole((since, until), lists) for since, until in zip(ends[::2], ends[1::2], strict=True) if since < until]
    return sorted(found, key=lambda gap: (gap.since, gap.cause, gap.detail))


def _up_to_its_end(one: Summary, now: float, newest: bool) -> Summary:
    """A list says nothing of what came after it, unless it is still written: of several that is the newest, however lately another one's
    controller has died."""
    if (newest and now - one.as_of <= SILENT_AFTER) or any(gap.until is None and gap.cause in _ABSENT for gap in one.gaps):
        return one
    return replace(one, gaps=[*one.gaps, Gap(Cause.SILENT, one.as_of, None, guessed(one.rate, now - one.as_of))])


def _heard(one: Summary, first: float) -> list[Span]:
    """When it listened."""
    since = one.began if one.began <= first else one.began + SETTLES
    spans = [(since, _FOREVER)]
    for gap in one.gaps:
        if gap.cause in _ABSENT:
            end = gap.until if gap.until is not None else _FOREVER
            # A controller that died had not heard of what ended in its last moment.
            begin = gap.since - SLACK if gap.cause is Cause.SILENT else gap.since
            spans = [part for span in spans for part in _without(span, (begin, end))]
    return spans


def _without(span: Span, gone: Span) -> list[Span]:
    parts = [(span[0], min(span[1], gone[0])), (max(span[0], gone[1]), span[1])]
    return [part for part in parts if part[0] < part[1]]


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Those that meet become one; in order."""
    found: list[Span] = []
    for since, until in sorted(spans):
        if found and since <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], until)
        else:
            found.append((since, until))
    return found


def _hole(hole: Span, lists: Sequence[Summary]) -> Gap:
    """Time that nobody heard, with the reason of whoever ended at its beginning."""
    since, until = hole[0], hole[1] if hole[1] < _FOREVER else None
    said = [(abs(gap.since - since), place, gap) for place, one in enumerate(lists) for gap in one.gaps if gap.cause in _ABSENT]
    _, place, gap = min(said, key=lambda one: one[:2])
    if (gap.since, gap.until) == (since, until) or until is None:
        return _named(replace(gap, since=since), lists[place])
    cause = Cause.KILLED if gap.cause is Cause.SILENT else gap.cause
    return _named(Gap(cause, since, until, guessed(lists[place].rate, until - since)), lists[place])


def _named(gap: Gap, one: Summary) -> Gap:
    """With the name of whose list says it."""
    whose = ", ".join(one.owners)
    return replace(gap, detail=": ".join(part for part in (whose, gap.detail) if part))


def missed(lists: Sequence[Summary], name: str, since: float, until: float) -> Span | None:
    """The time before the lists of a controller began, of a stretch in which it led: they were lost, or are others than those that it wrote
    then. None where there is none."""
    began = min((one.began for one in lists if name in one.owners), default=_FOREVER)
    return (since, min(began, until)) if since + SLOWEST_START < began else None
