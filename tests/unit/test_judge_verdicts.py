"""A verdict is exactly a verdict, or nonsense."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.domain import Preference
from extproc.judge.verdicts import LONGEST_REASON, Ballot, Marks, Nonsense, both_orders, printable, read_ballot, read_marks
from tests.support.judging import NONCE, RUBRIC

NAMES = [one.name for one in RUBRIC.criteria]
A, B, TIE = Preference.A, Preference.B, Preference.TIE


def document(key: str = "score", values: tuple[Any, ...] = (5, 4, 3, 1)) -> dict[str, Any]:
    entries = {name: {"reason": f"why {name}", key: value} for name, value in zip(NAMES, values, strict=True)}
    return {"ticket": NONCE, "criteria": entries}


def ballot(*words: Preference) -> Ballot:
    read = read_ballot(RUBRIC, json.dumps(document("better", words)), NONCE)
    assert isinstance(read, Ballot)
    return read


def test_marks_are_mapped_to_the_unit_interval_and_weighted() -> None:
    """1..5 become 0, .25, .5, .75, 1; weights .35, .35, .2, .1."""
    marks = read_marks(RUBRIC, json.dumps(document()), NONCE)
    assert isinstance(marks, Marks)
    assert marks.by_criterion == dict(zip(NAMES, (1.0, 0.75, 0.5, 0.0), strict=True))
    assert marks.value == pytest.approx(0.35 + 0.35 * 0.75 + 0.2 * 0.5)
    assert "helpfulness: why helpfulness" in marks.reason
    for level, value in ((1, 0.0), (5, 1.0)):
        marks = read_marks(RUBRIC, json.dumps(document(values=(level,) * 4)), NONCE)
        assert isinstance(marks, Marks)
        assert marks.value == pytest.approx(value)
        assert 0 <= marks.value <= 1


def changed(**entry: Any) -> dict[str, Any]:
    made = document()
    made["criteria"]["clarity"] = entry
    return made


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not one JSON object"),
        ("4 of 5", "text after|not one JSON object"),
        ("[]", "no JSON object"),
        ("null", "no JSON object"),
        ("{}", "lacks criteria, ticket"),
        (json.dumps(document()) + " I hope this helps", "text after"),
        ("```json\n" + json.dumps(document()) + "\n```", "not one JSON object"),
        (json.dumps(document()) * 2, "text after"),
        (json.dumps({**document(), "ticket": "f" * 16}), "ticket"),
        (json.dumps({**document(), "ticket": 5}), "ticket"),
        (json.dumps({"criteria": document()["criteria"]}), "lacks ticket"),
        (json.dumps({**document(), "note": "x"}), "not asked for"),
        (json.dumps({**document(), "criteria": {"clarity": {"reason": "", "score": 5}}}), "lacks conduct, correctness, helpfulness"),
        (json.dumps({**document(), "criteria": {**document()["criteria"], "beauty": {"reason": "", "score": 5}}}), "not asked for"),
        (json.dumps(changed(reason="x")), "clarity lacks score"),
        (json.dumps(changed(score=5)), "clarity lacks reason"),
        (json.dumps(changed(reason=5, score=5)), "no text"),
        (json.dumps(changed(reason="x", score=0)), "whole number"),
        (json.dumps(changed(reason="x", score=6)), "whole number"),
        (json.dumps(changed(reason="x", score=-1)), "whole number"),
        (json.dumps(changed(reason="x", score=4.0)), "whole number"),
        (json.dumps(changed(reason="x", score="4")), "whole number"),
        (json.dumps(changed(reason="x", score=True)), "whole number"),
        (json.dumps(changed(reason="x", score=None)), "whole number"),
        (json.dumps(changed(reason="x", score=float("nan"))), "a number that is none"),
        (json.dumps(document()).replace('"ticket"', '"ticket": "a", "ticket"', 1), "twice"),
        (json.dumps(document()).replace('"score": 5', '"score": 5, "score": 1', 1), "twice"),
        (json.dumps(changed(reason="x", score=1)).replace('"score": 1}', f'"score": {"9" * 5000}' + "}", 1), "a number that is none"),
        ("[" * 50_000, "nested too deep|not one JSON"),
        (" " * 70_000 + json.dumps(document()), "70[0-9]{3} characters"),
    ],
)
def test_what_is_no_verdict_is_nonsense_with_its_reason(text: str, why: str) -> None:
    read = read_marks(RUBRIC, text, NONCE)
    assert isinstance(read, Nonsense)
    assert re.search(why, read.why), read.why


@given(
    st.text(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda s: st.lists(s) | st.dictionaries(st.text(max_size=9), s)).map(
        json.dumps
    )
)
def test_no_answer_raises(text: str) -> None:
    """Law: anything at all is a verdict or nonsense; by chance it is nonsense."""
    assert isinstance(read_marks(RUBRIC, text, NONCE), Nonsense)
    assert isinstance(read_ballot(RUBRIC, text, NONCE), Nonsense)


def test_a_ballot_is_weighed() -> None:
    """.35 + .1 for A against .35 + .2 for B; equal weights are a tie."""
    assert ballot(A, B, B, A).preference is B
    assert ballot(A, B, TIE, TIE).preference is TIE
    assert ballot(TIE, TIE, TIE, A).preference is A
    for wrong in ("a", "C", "", None, 1, ["A"]):
        assert isinstance(read_ballot(RUBRIC, json.dumps(document("better", (wrong, A, A, A))), NONCE), Nonsense)


def test_both_orders_must_agree() -> None:
    """In the second the answers have changed places: A there is the answer B. What the two do not both say is a tie."""
    same = (A, A, A, A), (B, B, B, B)
    assert both_orders(ballot(*same[0]), ballot(*same[1])) == (A, dict.fromkeys(NAMES, A))
    assert both_orders(ballot(*same[0]), ballot(*same[0])) == (TIE, dict.fromkeys(NAMES, TIE))
    assert both_orders(ballot(A, B, B, B), ballot(B, B, B, B))[1] == dict(zip(NAMES, (A, TIE, TIE, TIE), strict=True))
    assert both_orders(ballot(TIE, TIE, TIE, TIE), ballot(B, B, B, B))[0] is TIE


def test_the_judges_words_are_made_printable_and_short() -> None:
    """They may repeat what was judged: no controls, one line, bounded."""
    assert printable("a\n\x1b[31mb\x00\u202ec") == "a [31mbc"
    assert len(printable("x" * 10**6)) == LONGEST_REASON
    made = document()
    made["criteria"]["clarity"]["reason"] = "y\n" * 20_000
    marks = read_marks(RUBRIC, json.dumps(made), NONCE)
    assert isinstance(marks, Marks)
    assert len(marks.reason) <= LONGEST_REASON
    assert "\n" not in marks.reason
