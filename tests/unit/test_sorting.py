"""Which request of a unit counts where: once in each epoch, decided before anything is known of it, in bounded memory."""

from __future__ import annotations

import random
from typing import Any

import pytest

from extproc.release import sorting
from extproc.release.flight import GRACE, VALUES_OF_UNIT, Member
from extproc.release.limits import Limits
from extproc.release.sorting import Sorter
from extproc.release.strata import Stratum
from extproc.release.units import EVER_PLANE, HOUR_PLANE, VISIT_PLANE, UnitFilter, unit_key
from tests.support.outcomes import outcome

LIMITS = Limits(0, (), ())
HERE = Stratum(2, 0, "everyone", 0.25, frozenset())
NEXT = Stratum(3, 1, "everyone", 0.5, frozenset())
BEGIN = 7200.0


def met(sorter: Sorter, unit: str, start: float, stratum: Stratum = HERE, present: bool = True, **changes: Any) -> Member:
    one = outcome(0, BEGIN + start, unit=unit, **changes)
    member = Member(one, stratum, unit_key(unit, one.arm.value == "canary"))
    sorter.sort(member, LIMITS, present)
    return member


def test_a_unit_counts_once_in_each_epoch() -> None:
    """Number of scales in which a request is its unit's first, shortest first: two seconds, a minute, an hour, the release."""
    sorter = Sorter(8.0)
    assert met(sorter, "a", 0.0).scales == 4
    assert met(sorter, "a", 1.9).scales == 0
    assert met(sorter, "b", 1.9).scales == 4
    assert met(sorter, "a", 2.0).scales == 1
    assert met(sorter, "a", 59.9).scales == 1
    assert met(sorter, "a", 60.0).scales == 2
    assert met(sorter, "a", 3600.0).scales == 3
    assert met(sorter, "c", 3600.0).scales == 4
    assert met(sorter, "a", 3600.1, canary=False).scales == 4, "the other arm is counted apart"


def test_a_window_has_the_requests_of_its_epoch() -> None:
    """Both lengths: until the end of the two seconds, until the end of the minute."""
    sorter = Sorter(8.0)
    first, second, third = (met(sorter, "a", start) for start in (0.5, 1.5, 30.0))
    assert first.blink is second.blink is not None
    assert third.blink is not first.blink
    assert first.minute is second.minute is third.minute is not None
    assert met(sorter, "a", 61.0).minute is not first.minute


def test_windows_are_looked_at_at_a_fixed_age() -> None:
    """When every request of them has reached its deadline: their length, the deadline and the grace after their first one."""
    sorter = Sorter(8.0)
    met(sorter, "a", 0.5)
    met(sorter, "b", 1.5)
    due = BEGIN + 0.5 + 2.0 + 8.0 + GRACE
    assert list(sorter.blinks(due - 0.01)) == []
    assert [window.start - BEGIN for window in sorter.blinks(due)] == [0.5]
    assert [window.start - BEGIN for window in sorter.blinks(due + 1.0)] == [1.5]
    assert list(sorter.minutes(due + 57.9)) == []
    assert len(list(sorter.minutes(due + 59.0))) == 2


def test_a_new_visit_meets_its_units_anew() -> None:
    """For safety and sample ratio they are new; for harm they were there in this minute. Stragglers of the old visit count no more."""
    sorter = Sorter(8.0)
    assert met(sorter, "a", 0.0).visit
    sorter.begin_visit()
    again = met(sorter, "a", 10.0, NEXT)
    assert (again.visit, again.scales) == (True, 1)
    straggler = met(sorter, "a", 10.5, HERE, present=False)
    assert (straggler.visit, straggler.scales, straggler.blink, straggler.minute) == (False, 0, None, None)
    assert not met(sorter, "a", 11.0, NEXT).visit
    assert not met(sorter, "b", 12.0, HERE, present=False).visit


def test_who_changes_its_cohort_within_a_window_is_in_neither() -> None:
    """A unit that travels: its window belongs to where it began."""
    sorter, there = Sorter(8.0), Stratum(2, 0, "elsewhere", 0.25, frozenset())
    first = met(sorter, "a", 0.0)
    moved = met(sorter, "a", 1.0, there)
    assert (moved.scales, moved.blink, moved.minute) == (0, None, None)
    assert met(sorter, "a", 1.5).blink is first.blink


def test_a_straggler_counts_from_the_minute_on() -> None:
    """Its two seconds are over; its minute is not. One of an earlier minute counts nowhere."""
    sorter = Sorter(8.0)
    met(sorter, "a", 10.0)
    late = met(sorter, "b", 3.0)
    assert (late.lowest, late.scales, late.visit) == (1, 4, True)
    met(sorter, "a", 70.0)
    gone = met(sorter, "c", 3.0)
    assert (gone.scales, gone.visit) == (0, False)


def test_beyond_the_bound_new_units_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """And counted; those that were there go on; when windows have been looked at there is room again."""
    monkeypatch.setattr(sorting, "WINDOWS_KEPT", 100)
    sorter = Sorter(8.0)
    kept = [met(sorter, f"{number:x}", 0.0).scales for number in range(150)]
    assert kept == [4] * 100 + [0] * 50
    assert sorter.left_out == 50
    assert met(sorter, "5", 0.5).blink is not None
    assert len(list(sorter.blinks(BEGIN + 500.0))) == len(list(sorter.minutes(BEGIN + 500.0))) == 100
    assert met(sorter, "ffff", 120.0).scales == 4


def test_means_of_a_window_are_of_its_first_twenty_requests() -> None:
    """Nobody outweighs all others by diligence; values that are missing are not counted; events of any request are remembered."""
    sorter = Sorter(8.0)
    window = met(sorter, "a", 0.0).minute
    assert window is not None
    for number in range(100):
        window.add(1 << number % 3, [float(number), None if number else 4.0])
    assert window.means() == [sum(range(VALUES_OF_UNIT)) / VALUES_OF_UNIT, 4.0]
    assert window.mask == 0b111


# --------------------------------------------------------------------------------------------------------------------- filter
def test_the_filter_never_forgets_and_seldom_errs() -> None:
    """100,000 units: none is new twice, fewer than one in a thousand is taken for another."""
    made, draw = UnitFilter(), random.Random(2)
    keys = [unit_key(f"{draw.getrandbits(64):016x}", False) for _ in range(100_000)]
    new = sum(made.add(key, EVER_PLANE) == EVER_PLANE for key in keys)
    assert new > 99_900
    assert not any(made.add(key, EVER_PLANE) for key in keys[:1000])


def test_planes_are_cleared_apart() -> None:
    """A new hour forgets the hour, a new visit the visit."""
    made, key = UnitFilter(), unit_key("abc", True)
    everything = HOUR_PLANE | EVER_PLANE | VISIT_PLANE
    assert made.add(key, everything) == everything
    made.clear(HOUR_PLANE)
    assert made.add(key, everything) == HOUR_PLANE
    made.clear(VISIT_PLANE)
    assert made.add(key, EVER_PLANE) == 0
    assert made.add(key, everything) == VISIT_PLANE
    assert made.add(unit_key("abc", False), everything) == everything


def test_ids_that_are_no_hashes_are_hashed() -> None:
    """And look-alikes are spread: sequential hashes do not share cells."""
    assert len({unit_key(unit, canary) for unit in ("", "x", "user 5", "ff") for canary in (True, False)}) == 8
    low = {unit_key(f"{number:016x}", False) % 4096 for number in range(1000)}
    assert len(low) > 800
