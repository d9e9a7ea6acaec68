"""The table of faults, three rows of it: no client's error, traffic within its bound, metric and status line, recovery."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from loadtest.faults import measure
from loadtest.faults_report import Done, Plan, figures, problems
from tests.support.lateness import lateness

ROWS = ("kill-worker", "kill-all", "lock")
"""The others are faults of other tests here: test_supervisor, test_watch, test_reload, test_store_faults, test_kills."""


def test_faults_under_load_do_what_the_table_says() -> None:
    """On the real Envoy, every answer looked at; the long form is a section of the proof."""
    with lateness() as machine:
        found, answers, canary = asyncio.run(measure(ROWS, Plan(rate=60.0, people=30, quiet=3.0)))

    def excused(done: Done) -> Done:
        """Where the machine itself was late, so may everybody be."""
        return done if done.withdraws is None else replace(done, withdraws=done.withdraws + machine.worst)

    assert [done.name for done in found] == ["a worker is killed", "all of extproc is killed", "the store is locked"]
    assert [problem for done in found for problem in problems(excused(done), figures(done, answers, canary))] == []
