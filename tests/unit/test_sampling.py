"""From Envoy's copies to samples: gathered in bounded memory, chosen by hash, redacted before anybody sees them."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from extproc.domain import Arm, Purpose, Reason
from extproc.judge.redact import Redactor
from extproc.judge.sampling import Chances, Chooser, Copy, Gathered, Sampler
from extproc.judge.sampling.sampler import RARE_BELOW
from extproc.pb.ext_proc_pb2 import ProcessingRequest
from extproc.wire import read_copy
from tests.support.samples import UNIT, chat, completion, copied

NOW = 1_000_000.0
LONGEST = 4096


def gathered(messages: list[bytes], longest: int = LONGEST) -> Gathered | None:
    copy = Copy(longest, NOW)
    for message in messages:
        copy.take(read_copy(message))
    return copy.end()


def whole(messages: list[bytes], longest: int = LONGEST) -> Gathered:
    found = gathered(messages, longest)
    assert found is not None
    return found


# ------------------------------------------------------------------------------------------------------------------- gathering
@pytest.mark.parametrize("pieces", [1, 2, 7, 90])
def test_a_copy_is_put_together_however_it_was_cut(pieces: int) -> None:
    """Request, answer, who it was for, and that the end was seen."""
    answer = completion("384,400 km on average.")
    found = whole(copied(chat("How far is the moon?"), answer, pieces))
    assert found.exchange.request == chat("How far is the moon?")
    assert found.exchange.response == answer
    assert found.exchange.status == 200
    assert found.exchange.response_ended
    assert (found.request, found.unit, found.begun) == ("request-1", UNIT, NOW)
    assert (found.assigned.rollout, found.assigned.arm, found.assigned.reason) == ("chat", Arm.CANARY, Reason.RING)


def test_memory_of_a_copy_is_bounded() -> None:
    """What is longer is cut and marked; whatever came, no more than that is held."""
    found = whole(copied(chat("x" * 10_000), completion("y" * 10_000), 5), longest=1000)
    assert len(found.exchange.request) == len(found.exchange.response) == 1000
    assert found.exchange.request_truncated
    assert found.exchange.response_truncated
    exact = copied(chat("x"), completion("y"))
    assert not whole(exact, longest=len(completion("y"))).exchange.response_truncated


def test_an_answer_that_breaks_off_has_no_end() -> None:
    """The client left, or the model broke: nobody judges half an answer."""
    messages = copied(chat("?"), completion("half"), 4)
    found = whole(messages[:-2])
    assert not found.exchange.response_ended
    sample = Sampler(Redactor(), None).sample(found, chosen=True)
    assert sample is not None
    assert sample.ending == "aborted"


@pytest.mark.parametrize("changes", [{"decided": False}, {"request_id": ""}, {"reason": "a word of a later version"}])
def test_a_copy_of_which_nobody_knows_whose_it_is_is_left_out(changes: dict[str, Any]) -> None:
    """No decision, no id, or a decision that we cannot read."""
    assert gathered(copied(chat("?"), completion("!"), **changes)) is None


def test_messages_that_concern_nobody_are_passed_over() -> None:
    """Trailers."""
    assert read_copy(ProcessingRequest(response_trailers={}).SerializeToString()) is None


# --------------------------------------------------------------------------------------------------------------------- choosing
def test_the_choice_is_by_hash_alone_and_has_the_share_that_is_asked_for() -> None:
    """The same request always falls the same way; a larger share only adds."""
    chooser, ids = Chooser("chat"), [f"{number:032x}" for number in range(20_000)]
    small = {one for one in ids if chooser.chosen(one, 0.05)}
    large = {one for one in ids if chooser.chosen(one, 0.20)}
    assert small < large
    assert abs(len(small) / len(ids) - 0.05) < 0.006
    assert abs(len(large) / len(ids) - 0.20) < 0.012
    again = {one for one in large if chooser.again(one, 0.1)}
    assert abs(len(again) / len(large) - 0.1) < 0.02
    assert abs(len(again & small) / len(again) - 0.25) < 0.1, "who is judged twice has nothing to do with who is judged"
    other = {one for one in ids if Chooser("another").chosen(one, 0.05)}
    assert len(small & other) < 120, "another release samples others"


def test_the_chance_follows_the_money_and_never_the_answer() -> None:
    """Set at the beginning of a minute from what was before; an hour costs no more than it may."""
    chances, draw, spent = Chances(per_hour=1.0), Random(1), 0.0
    for second in range(3600):
        for _ in range(10):
            if draw.random() < chances.arrive(NOW - NOW % 3600 + second):
                cost = draw.uniform(0.0005, 0.0015)
                chances.cost(cost)
                spent += cost
    assert 0.7 < spent <= 1.05
    begin = Chances(per_hour=1.0)
    shares = set()
    for number in range(50):
        shares.add(begin.arrive(NOW - NOW % 60 + number))
        begin.cost(0.5)
    assert shares == {1.0}, "within a minute it does not change, whatever that minute brings"


def test_without_a_bound_everything_that_is_copied_is_judged() -> None:
    """No budget, no second coin."""
    chances = Chances(None)
    for second in range(0, 7200, 7):
        chances.cost(100.0)
        assert chances.arrive(NOW + second) == 1.0


# ------------------------------------------------------------------------------------------------------------------- sampling
def test_what_is_kept_is_redacted() -> None:
    """Question, answer and tool calls; and what was taken out is counted."""
    answer = completion("Write to jane.doe@example.com or call +49 30 901820.")
    sample = Sampler(Redactor({"customer": "KD-[0-9]{4}"}), None).sample(whole(copied(chat("I am KD-4711, bob@example.org"), answer)), True)
    assert sample is not None
    text = repr(sample)
    for secret in ("jane.doe", "example.com", "901820", "4711", "bob@"):
        assert secret not in text
    assert sample.redacted["email"] == 2
    assert sample.redacted["customer"] == 1


def test_a_text_that_was_cut_is_not_kept() -> None:
    """A secret may be cut in two there, and be none of the known shapes any more."""
    sample = Sampler(Redactor(), None).sample(whole(copied(chat("hello"), completion("y" * 9000)), longest=1000), True)
    assert sample is not None
    assert sample.ending == "truncated"
    assert sample.answer == ""
    assert sample.turns == ()


def test_what_is_not_chosen_is_kept_for_eyes_alone_where_it_looks_wrong_or_is_rare() -> None:
    """An empty answer trips a wire; a small cohort is rare; everything else is forgotten."""
    sampler = Sampler(Redactor(), None)
    plain = copied(chat("How far is the moon?"), completion("The moon is about 384,400 km away from us on average."))
    assert sampler.sample(whole(plain), False) is None
    empty = sampler.sample(whole(copied(chat("How far is the moon?"), completion(""))), False)
    assert empty is not None
    assert empty.purpose is Purpose.DIAGNOSTIC
    assert "empty_answer" in empty.tripwires
    for _ in range(RARE_BELOW):
        sampler.sample(whole(plain), False)
    rare = sampler.sample(whole(copied(chat("?"), completion("It is far away from here, I think."), cohort="vip")), False)
    assert rare is not None
    assert rare.purpose is Purpose.DIAGNOSTIC
    assert sampler.sample(whole(plain), False) is None


def test_the_arm_has_no_say() -> None:
    """The same copy in the other arm is the same sample, but for its arm."""
    one = Sampler(Redactor(), None).sample(whole(copied(chat("?"), completion("It is far."))), True)
    other = Sampler(Redactor(), None).sample(whole(copied(chat("?"), completion("It is far."), arm="control")), True)
    assert one is not None
    assert other is not None
    assert replace(one, arm=Arm.CONTROL) == other
