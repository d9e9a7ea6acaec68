"""Batches: where they close, and that outcomes have no say in it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.release.batches import CLOSE_AT, CLOSE_SOON_AT, Batch, Batcher

ARMS = st.lists(st.booleans(), max_size=300)
SHARES = st.sampled_from([0.001, 0.01, 0.05, 0.25, 0.5, 0.51, 0.75, 0.9, 0.99])


def test_at_5_percent_a_batch_is_a_canary_request_after_16_stable_ones() -> None:
    """0.8 * 19 = 15.2 stable requests are expected to have gathered; the next canary request closes."""
    batcher = Batcher(0.05)
    assert batcher.add(True, True) is None, "too early: only itself"
    for number in range(16):
        assert batcher.add(False, number == 3) is None, "stable requests close nothing at this share"
    assert batcher.add(True, False) == Batch(x=1, n_c=2, y=1, n_s=16)
    assert batcher.add(True, True) is None, "the next batch begins empty"


@pytest.mark.parametrize(
    ("share", "close_at", "larger"),
    [
        (0.01, CLOSE_AT, 80),
        (0.05, CLOSE_AT, 16),
        (0.25, CLOSE_AT, 3),
        (0.5, CLOSE_AT, 1),
        (0.05, CLOSE_SOON_AT, 6),
        (0.5, CLOSE_SOON_AT, 1),
    ],
)
def test_a_batch_closes_at_the_documented_share_of_the_expected_number(share: float, close_at: float, larger: int) -> None:
    """One stable request fewer and the canary request does not close it."""
    short, enough = Batcher(share, close_at), Batcher(share, close_at)
    for _ in range(larger - 1):
        short.add(False, False)
        enough.add(False, False)
    enough.add(False, False)
    assert short.add(True, False) is None
    assert enough.add(True, False) == Batch(0, 1, 0, larger)


def test_above_50_percent_the_roles_are_swapped() -> None:
    """At 95 % a stable request closes after 16 canary ones, and a canary request never does."""
    batcher = Batcher(0.95)
    for _ in range(40):
        assert batcher.add(True, False) is None
    assert batcher.add(False, True) == Batch(0, 40, 1, 1)
    assert batcher.add(False, True) is None
    for _ in range(16):
        assert batcher.add(True, False) is None
    assert batcher.add(False, False) == Batch(0, 16, 1, 2)


def test_without_a_second_arm_no_batch_ever_closes() -> None:
    """At 0 % and at 100 % there is nobody to compare with."""
    for share, canary in ((0.0, False), (1.0, True)):
        batcher = Batcher(share)
        assert [batcher.add(canary, False) for _ in range(1000)] == [None] * 1000


@settings(deadline=None, derandomize=True, database=None)
@given(SHARES, st.sampled_from([CLOSE_AT, CLOSE_SOON_AT]), ARMS, st.data())
def test_where_a_batch_closes_never_depends_on_events(share: float, close_at: float, arms: list[bool], data: st.DataObject) -> None:
    """The same arms with other events close at the same requests: this is what keeps the e-processes honest."""
    events = data.draw(st.lists(st.booleans(), min_size=len(arms), max_size=len(arms)))
    eventful, quiet = Batcher(share, close_at), Batcher(share, close_at)
    for canary, event in zip(arms, events, strict=True):
        one, other = eventful.add(canary, event), quiet.add(canary, False)
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert (one.n_c, one.n_s) == (other.n_c, other.n_s)


@settings(deadline=None, derandomize=True, database=None)
@given(SHARES, ARMS, st.data())
def test_no_request_is_lost_or_counted_twice(share: float, arms: list[bool], data: st.DataObject) -> None:
    """Batches, and what has not closed yet, are all requests once; every batch has both arms."""
    events = data.draw(st.lists(st.booleans(), min_size=len(arms), max_size=len(arms)))
    batcher, last, taken = Batcher(share), 0, 0
    for place, (canary, event) in enumerate(zip(arms, events, strict=True), start=1):
        batch = batcher.add(canary, event)
        if batch is None:
            continue
        stretch = list(zip(arms[last:place], events[last:place], strict=True))
        assert batch == Batch(
            x=sum(failed for canary, failed in stretch if canary),
            n_c=sum(canary for canary, _ in stretch),
            y=sum(failed for canary, failed in stretch if not canary),
            n_s=sum(not canary for canary, _ in stretch),
        )
        assert batch.n_c
        assert batch.n_s
        last, taken = place, taken + batch.n_c + batch.n_s
    assert taken == last <= len(arms)
