"""The native transport understands bytes as the `h2` library does, frame by frame, but for the differences that are named."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.differences import ALLOWED
from tests.fuzz.differential import differential
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import talk

SNIPPETS = sorted({seed[1:] for seed in seeds("differential")})
TALK = st.builds(
    lambda how, parts: bytes([how]) + b"".join(parts),
    st.integers(0, 7),
    st.lists(st.one_of(st.sampled_from(SNIPPETS), st.binary(max_size=8)), max_size=6),
)
"""Conversations that are right, one behind the other, with some choices of chance between them."""


@settings(max_examples=120, deadline=None)
@given(TALK)
def test_both_understand_the_same(conversation: bytes) -> None:
    """Requests, messages, states of streams, windows, settings, faults; and h2 would have sent what we send."""
    differential(conversation)


@settings(max_examples=80, deadline=None)
@given(TALK)
def test_a_witness_of_both_sides_finds_no_fault(conversation: bytes) -> None:
    """With ticks, drains and changes of health in between, and limits that are soon reached: the books hold after every act."""
    talk(conversation)


def test_each_allowed_difference_is_met() -> None:
    """None is in the table that is not needed, and every one has a conversation that shows it."""
    met = set().union(*(differential(seed) for seed in seeds("differential")))
    assert met == {allowed.name for allowed in ALLOWED}
