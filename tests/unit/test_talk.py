"""What API process and brain say to each other: everything comes through as it was said, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.controller import talk
from extproc.controller.talk import ACTIONS, Act, Ask, LateError, Question
from extproc.errors import ConflictError, ExtprocError, Problem, RefusedError, SettingsError, SpecError, StoreError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
"""All that UTF-8 can carry."""
ACTS = st.builds(Act, TEXT, st.sampled_from(list(ACTIONS)), TEXT, TEXT, TEXT)
SECONDS = st.floats(allow_nan=False, allow_infinity=False)
QUESTIONS = st.one_of(
    st.builds(Question, st.sampled_from([one for one in Ask if one is not Ask.ACT]), SECONDS),
    st.builds(Question, st.just(Ask.ACT), SECONDS, ACTS),
)
GOOD: dict[str, Any] = {
    "ask": "act",
    "until": 12.5,
    "act": {"rollout": "new", "action": "start", "actor": "ann", "why": "because", "request": ""},
}


@given(QUESTIONS)
def test_a_question_comes_through(question: Question) -> None:
    """In one line, whatever the texts hold."""
    line = question.write()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert Question.read(line) == question


def _without(document: dict[str, Any], *path: str) -> dict[str, Any]:
    first, *rest = path
    if rest:
        return {**document, first: _without(document[first], *rest)}
    return {key: value for key, value in document.items() if key != first}


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "status",
        {},
        {"ask": "status"},
        {"ask": "everything", "until": 1},
        {"ask": ["status"], "until": 1},
        {"ask": "status", "until": "1"},
        {"ask": "status", "until": True},
        {"ask": "status", "until": None},
        {"ask": "status", "until": 1, "more": 1},
        {**GOOD, "ask": "status"},
        _without(GOOD, "act"),
        _without(GOOD, "until"),
        {**GOOD, "act": None},
        {**GOOD, "act": []},
        *(_without(GOOD, "act", name) for name in GOOD["act"]),
        *({**GOOD, "act": {**GOOD["act"], name: 1}} for name in GOOD["act"]),
        {**GOOD, "act": {**GOOD["act"], "more": ""}},
        {**GOOD, "act": {**GOOD["act"], "action": "adopt"}},
    ],
)
def test_what_is_no_question_is_refused(document: Any) -> None:
    """With ValueError, which costs the connection; the good one that all of these were made of is none of them."""
    assert Question.read(orjson.dumps(GOOD)).act is not None
    with pytest.raises(ValueError, match=r"."):
        Question.read(orjson.dumps(document))


@given(st.binary(max_size=60))
def test_bytes_that_are_no_json_are_refused(line: bytes) -> None:
    """Nothing but ValueError comes out."""
    with pytest.raises(ValueError, match=r"."):
        Question.read(line)


def test_an_answer_comes_through() -> None:
    """A document is the same; numbers, null and texts with line ends too."""
    document = {"a": [1, 2.5, None, True], "b": "one\ntwo", "c": {}}
    line = talk.said(document)
    assert line.count(b"\n") == 1
    assert talk.heard(line) == document


@pytest.mark.parametrize(
    ("raised", "arrives"),
    [
        (RefusedError, RefusedError),
        (LateError, LateError),
        (StoreError, StoreError),
        (ConflictError, StoreError),
        (SettingsError, SettingsError),
        (SpecError, SettingsError),
    ],
)
def test_a_refusal_is_raised_at_the_other_end(raised: Callable[[list[Problem]], ExtprocError], arrives: type[ExtprocError]) -> None:
    """With all its Problems, as they were."""
    problems = [Problem("a.b", "path", "message", "hint", 7), Problem("c.d", "path", "message")]
    with pytest.raises(arrives) as found:
        talk.heard(talk.refused(raised(problems)))
    assert list(found.value.problems) == problems


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"said": 1, "refused": "late"},
        {"refused": "late"},
        {"refused": "why", "problems": []},
        {"refused": "late", "problems": [{"id": "x"}]},
        {"refused": "late", "problems": 1},
        {"refused": ["late"], "problems": []},
    ],
)
def test_what_is_no_answer_is_refused(document: Any) -> None:
    """With ValueError: the API process treats it like silence."""
    with pytest.raises(ValueError, match=r"."):
        talk.heard(orjson.dumps(document))
