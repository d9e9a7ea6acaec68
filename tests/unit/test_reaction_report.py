"""The report on reactions: what was promised and not seen is told, and a short form says that it is one."""

from __future__ import annotations

import math

from loadtest.reaction import AT_ONCE, FAULTS, LONG_QUIET, RUNS, Injection, Series, plans, report
from loadtest.student import quantile


def test_a_quantile_is_a_value_that_was_seen() -> None:
    """The 99th of twenty is the worst."""
    assert [quantile(sorted([3.0, 1.0, 2.0, 4.0]), share) for share in (0.0, 0.5, 0.51, 0.99, 1.0)] == [1.0, 2.0, 3.0, 4.0, 4.0]


def test_what_was_promised_and_not_seen_is_told() -> None:
    """Too late, and never; of what has no promise, only never."""
    found = {
        "errors": [Injection(3.0, 60, "errors: harm E 41 of 40"), Injection(5.2, 104, "errors: harm E 60 of 40")] * 10,
        "slow": [Injection(25.0, 500, "latency_mean")] * 19 + [Injection(math.inf, 0, "progressing: needs data for errors")],
    }
    lines, problems = report(Series(found), RUNS, LONG_QUIET, AT_ONCE)
    assert problems == [
        "errors: the last canary request came 5.2 s after the fault, promised are 5 s",
        "slow: progressing: needs data for errors",
    ]
    assert "| errors | every answer is a 500 | 20 | 3.0 s | 5.2 s | 5.2 s | 82 | 5 s |" in lines
    assert "* errors: errors: harm E 60 of 40" in lines
    assert not any("short form" in line for line in lines)


def test_a_short_form_says_so() -> None:
    """Fewer injections, or less quiet, is less proof."""
    for runs, quiet in ((RUNS - 1, LONG_QUIET), (RUNS, LONG_QUIET - 1)):
        found = {"late": [Injection(3.0, 60, "errors")] * runs}
        lines, problems = report(Series(found), runs, quiet, AT_ONCE)
        assert problems == []
        assert any("A short form" in line for line in lines)


def test_what_was_not_tried_is_told() -> None:
    """A stand that broke, and injections that are missing because of it."""
    found = {"errors": [Injection(3.0, 60, "errors")] * RUNS, "crash": []}
    _, problems = report(Series(found, ["crash: a stand broke: was not ready"]), RUNS, LONG_QUIET, AT_ONCE)
    assert problems == ["crash: a stand broke: was not ready", f"crash: 0 of {RUNS} injections"]


def test_the_faults_that_are_asked_for_are_there() -> None:
    """Errors, slowness, a hang, a crash, a fault after a quiet time; the bound is promised for those that are loud at once."""
    assert list(FAULTS) == ["errors", "slow", "hang", "crash", "late"]
    assert {key for key, fault in FAULTS.items() if fault.promise == 5.0} == {"errors", "crash", "late"}


def test_late_faults_are_shared_out_over_stands() -> None:
    """Every fault as often as it was asked for; those that wait do so beside each other, the others follow each other."""
    faults = list(FAULTS.values())
    early, *late = plans(faults, 20, 5)
    assert [fault.key for fault in early] == [fault.key for fault in faults if not fault.late for _ in range(20)]
    assert [[fault.key for fault in plan] for plan in late] == [["late"] * 4] * 5
    assert [len(plan) for plan in plans([FAULTS["late"]], 3, 5)] == [1, 1, 1]
