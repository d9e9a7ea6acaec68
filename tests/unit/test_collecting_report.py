"""The collector's proof: entries are Envoy's but for what differs, and the report tells what was promised and not seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from extproc import wire
from extproc.domain import Arm, Reason
from loadtest import collecting
from loadtest.collecting import IN_MESSAGE, Crowd, Run, report

GOOD = Run("5%", 2_000_000, 0.8, 20_000.0, 2_000_000, 0, 100_000, 100_000, (200 << 20, 205 << 20))


def test_entries_are_read_as_what_was_put_into_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request is another one, of its own unit and arm, and has just ended."""
    monkeypatch.setattr(collecting, "USERS", 1000)
    crowd = Crowd(0.25, "25%", 7)
    now = 1_900_000_000.25
    outcomes, undecided, _ = wire.read_outcomes(crowd.message(now))
    assert not undecided
    assert len({one.stream_id for one in outcomes}) == len(outcomes) == IN_MESSAGE == crowd.sent
    assert {(one.rollout, one.generation, one.phase, one.reason) for one in outcomes} == {("gpt-5-mini", 7, "25%", Reason.RING)}
    assert {one.arm for one in outcomes} == {Arm.CANARY, Arm.REST}
    assert sum(one.arm is Arm.CANARY for one in outcomes) == crowd.canary
    assert all((one.answered_by == "gpt-5-mini") == (one.arm is Arm.CANARY) for one in outcomes)
    assert all(abs(one.start + one.duration - now) < 1.0 for one in outcomes)
    assert all(one.durable and one.final and one.ttft and one.output_tokens and 0 < one.duration < 1 for one in outcomes)
    assert len({one.unit for one in outcomes}) > 80


def test_what_was_promised_and_not_seen_is_told() -> None:
    """Too slow, not heard, not written, memory that grows."""
    assert report([GOOD], GOOD)[1] == []
    slow = replace(GOOD, cores=1.1)
    deaf = replace(GOOD, heard=1_999_999)
    lossy = replace(GOOD, written=99_990, lost=10)
    large = replace(GOOD, memory=(200 << 20, 220 << 20))
    for bad in (slow, deaf, lossy):
        assert len(report([bad])[1]) == 1
    assert len(report([large])[1]) == 0
    assert len(report([], large)[1]) == 1
