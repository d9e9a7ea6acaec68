"""Change windows and freezes: the wall clock of a zone, daylight saving time included."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from extproc.domain import ChangeWindow, Freeze
from extproc.release.calendar import closed
from tests.support.specs import rollout

BERLIN = ZoneInfo("Europe/Berlin")
WEEKDAYS = (0, 1, 2, 3, 4)
OFFICE = ChangeWindow(WEEKDAYS, 9 * 3600, 16.5 * 3600, BERLIN)
GIVEN = replace(rollout(), windows=(OFFICE,))


def at(text: str, zone: ZoneInfo | timezone = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize("moment", ["2026-03-02T09:00:00", "2026-03-06T16:29:59", "2026-07-01T12:00:00"])
def test_inside_of_a_window_it_is_open(moment: str) -> None:
    """Monday at nine, Friday before half past four, in winter and in summer."""
    assert closed(GIVEN, at(moment)) == ""


@pytest.mark.parametrize(
    ("moment", "opens"),
    [
        ("2026-03-02T08:59:00", "1 min"),
        ("2026-03-02T16:30:00", "16 h 30 min"),
        ("2026-03-06T16:30:00", "2 d 16 h"),
        ("2026-03-07T12:00:00", "1 d 21 h"),
        ("2026-03-28T09:00:00", "1 d 23 h"),
    ],
)
def test_outside_of_all_windows_it_says_when_the_next_one_opens(moment: str, opens: str) -> None:
    """The last one: the night in which the clocks go forward is an hour short."""
    assert closed(GIVEN, at(moment)) == f"outside of the change windows, the next one opens in {opens}"


def test_zones_are_their_own() -> None:
    """Nine in Tokyo is one in the morning in Berlin; any open window is enough; none means always."""
    tokyo = replace(OFFICE, zone=timezone(timedelta(hours=9)))
    given = replace(GIVEN, windows=(OFFICE, tokyo))
    assert closed(given, at("2026-03-03T01:00:00")) == ""
    assert closed(GIVEN, at("2026-03-03T01:00:00")) != ""
    assert closed(replace(GIVEN, windows=()), at("2026-03-03T01:00:00")) == ""


def test_a_freeze_closes_every_window() -> None:
    """From its first second to before its last, with its reason."""
    begin, end = at("2026-03-02T10:00:00"), at("2026-03-04T10:00:00")
    given = replace(GIVEN, freezes=(Freeze(begin, end, "audit"),))
    assert closed(given, begin - 1) == closed(given, end) == ""
    assert closed(given, begin) == "frozen for 2 d 0 h more: audit"


def test_a_window_without_days_never_opens() -> None:
    """And says so, instead of a time."""
    given = replace(GIVEN, windows=(replace(OFFICE, days=()),))
    assert closed(given, at("2026-03-02T10:00:00")) == "outside of the change windows, and none will open"
