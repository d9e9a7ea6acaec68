"""Points in time, in the relaxed form of RFC 3339 that the engine accepts in attributes (chrono's DateTime::from_str).

An instant is one integer, so that comparing is one operation: seconds since 1970 times SPAN, plus nanoseconds. A leap second is the
last second of its minute with more than 10**9 nanoseconds, hence the span of two seconds.
"""

from __future__ import annotations

import re
from math import modf
from typing import Final

from extproc.flags.unleash.letters import WHITE_SPACE

SPAN: Final = 2_000_000_000
NANOSECONDS: Final = 1_000_000_000
DAY: Final = 86_400
MONTH_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
FIRST_YEAR: Final = -262_143
LAST_YEAR: Final = 262_142
"""chrono's calendar ends here."""
SPACE: Final = f"[{WHITE_SPACE}]*"

LENIENT: Final = re.compile(
    rf"{SPACE}([+-]0*[0-9]{{1,6}}|[0-9]{{1,4}}){SPACE}-{SPACE}([0-9]{{1,2}}){SPACE}-{SPACE}([0-9]{{1,2}})[Tt ]"
    rf"{SPACE}([0-9]{{1,2}}){SPACE}:{SPACE}([0-9]{{1,2}}){SPACE}:{SPACE}([0-9]{{1,2}})(?:\.([0-9]+))?{SPACE}"
    rf"(?:[Zz]|[Uu][Tt][Cc]|([+\-\u2212])([0-9]{{2}})[:{WHITE_SPACE}]*([0-5][0-9])){SPACE}"
)
"""What an attribute may look like: one-digit fields, spaces and signed years included."""
STRICT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{3})?(?:Z|[+-][0-9]{2}:[0-9]{2})",
)
"""What a constraint may look like: Unleash's own form, no fraction or milliseconds."""


def strict_instant(text: str) -> int | None:
    """The instant of a constraint."""
    return instant(text) if STRICT.fullmatch(text) else None


def instant(text: str) -> int | None:
    """The instant of an attribute; None if the engine could not read it."""
    found = LENIENT.fullmatch(text)
    if found is None:
        return None
    year_text, month_text, day_text, hour_text, minute_text, second_text, fraction, sign, offset_hours, offset_minutes = found.groups()
    year, month, day = int(year_text), int(month_text), int(day_text)
    hour, minute, second = int(hour_text), int(minute_text), int(second_text)
    if not (FIRST_YEAR <= year <= LAST_YEAR and 1 <= month <= 12 and 1 <= day <= _days_in(year, month)):
        return None
    if hour > 23 or minute > 59 or second > 60:
        return None
    nanoseconds = int(fraction[:9].ljust(9, "0")) if fraction else 0
    if second == 60:
        second, nanoseconds = 59, nanoseconds + NANOSECONDS
    offset = 0
    if sign is not None:
        offset = int(offset_hours) * 3600 + int(offset_minutes) * 60
        if offset >= DAY:
            return None
    seconds = _days(year, month, day) * DAY + hour * 3600 + minute * 60 + second + (offset if sign not in (None, "+") else -offset)
    return seconds * SPAN + nanoseconds if EARLIEST <= seconds <= LATEST else None


def instant_of(now: float) -> int:
    """The instant of a clock's reading in Unix seconds, in whole microseconds, half to even: the client's own clock is a datetime."""
    fraction, whole = modf(now)
    seconds, microseconds = divmod(int(whole) * 1_000_000 + round(fraction * 1e6), 1_000_000)
    return seconds * SPAN + microseconds * 1000


def _days_in(year: int, month: int) -> int:
    if month == 2 and (year % 4 or (year % 100 == 0 and year % 400)):
        return 28
    return MONTH_DAYS[month - 1]


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the proleptic Gregorian calendar; datetime knows only the years 1 to 9999."""
    if month <= 2:
        year, month = year - 1, month + 12
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719_469


EARLIEST: Final = _days(FIRST_YEAR, 1, 1) * DAY
LATEST: Final = _days(LAST_YEAR + 1, 1, 1) * DAY - 1
"""Seconds since 1970 that chrono can express, after the offset has been taken off."""
