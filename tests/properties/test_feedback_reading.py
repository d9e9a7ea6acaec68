"""Laws of a posted body: there is always an answer, items are judged one by one, and nothing of an item is repeated."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.assign.answered import sign
from extproc.controller.feedback.reading import LONGEST_BODY, MOST_ITEMS, Rules, read_body
from extproc.domain import Answered, Arm, FeedbackKind

law = settings(max_examples=150, deadline=None, derandomize=True)
NOW = 1_800_000_000.0
KEY = b"k" * 32
ANSWERED = Answered("new", 7, "everyone", Arm.CANARY, "0123456789abcdef", True, NOW - 60)
TOKEN = sign(KEY, ANSWERED)
REQUEST = "7a0c1b9e-4a52-9d53-9f0e-0123456789ab"
RULES = Rules((KEY,), 3600.0)
json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
valued = st.one_of(
    st.builds(lambda value: ("rating", value), st.integers(1, 5) | st.floats(1, 5)),
    st.builds(lambda value: ("edit", value), st.floats(0, 1)),
    st.sampled_from(["thumbs_up", "thumbs_down", "regenerate", "copy", "session_end"]).map(lambda kind: (kind, None)),
)


def item(**changes: Any) -> dict[str, Any]:
    given = {"kind": "thumbs_up", "token": TOKEN} | changes
    return {key: value for key, value in given.items() if value is not None}


def read(document: Any, may_name: bool = True, now: float = NOW) -> Any:
    return read_body(orjson.dumps(document), RULES, may_name, now)


@law
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_have_an_answer(body: bytes, may_name: bool) -> None:
    """Feedback or a Problem, and no exception."""
    found = read_body(body, RULES, may_name, NOW)
    assert found.items or found.problems


@law
@given(json | st.lists(st.dictionaries(st.sampled_from(["id", "kind", "value", "request_id", "token", "at", "x"]), json), max_size=4))
def test_any_json_has_an_answer(document: Any) -> None:
    """The same."""
    found = read(document)
    assert found.items or found.problems
    assert all(problem.hint and problem.message for problem in found.problems)


@law
@given(st.lists(st.tuples(valued, st.booleans(), st.booleans()), min_size=1, max_size=20), st.integers(0, 20))
def test_good_items_are_read_whatever_stands_between_them(said: list[Any], place: int) -> None:
    """Kinds, values and answers are what was posted; the bad one is named by its place."""
    given = [
        item(kind=kind, value=value, id=f"n{number}" if named else None, **({} if by_token else {"token": None, "request_id": REQUEST}))
        for number, ((kind, value), by_token, named) in enumerate(said)
    ]
    bad = min(place, len(given))
    given.insert(bad, {"kind": "applause", "token": TOKEN})
    found = read(given)
    assert [(one.kind, one.value, one.token, one.request_id, bool(one.id)) for one in found.items] == [
        (FeedbackKind(kind), value, ANSWERED if by_token else None, "" if by_token else REQUEST, named)
        for (kind, value), by_token, named in said
    ]
    assert [problem.path for problem in found.problems] == [f"[{bad}].kind"]
    assert (found.count, len(found.places)) == (len(said) + 1, len(said))


@law
@given(st.text("äöü§", min_size=12, max_size=60), st.sampled_from(["id", "kind", "token", "request_id", "at", "value", "k" * 30]))
def test_nothing_of_an_item_is_repeated(secret: str, key: str) -> None:
    """Answers are logged by whoever stands between: no id, token or name of a key is in them."""
    for problem in read([item(**{key: secret}) | {secret: 1}]).problems:
        shown = f"{problem.id} {problem.path} {problem.message} {problem.hint}"
        assert secret not in shown
        assert TOKEN not in shown


@law
@given(st.floats(0, 1e11, exclude_max=True))
def test_a_client_has_any_clock(at: float) -> None:
    """What it says is kept within the window; feedback is never lost for it."""
    (one,) = read(item(at=at)).items
    assert one.at == min(max(at, NOW - RULES.window), NOW)
    assert one.received == NOW


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({"kind": "love"}, ["feedback.kind"]),
        ({"kind": 7}, ["feedback.kind"]),
        ({"kind": ["copy"]}, ["feedback.kind"]),
        ({"kind": "rating"}, ["feedback.value"]),
        ({"kind": "rating", "value": 0.99}, ["feedback.value"]),
        ({"kind": "rating", "value": 6}, ["feedback.value"]),
        ({"kind": "rating", "value": True}, ["feedback.value"]),
        ({"kind": "rating", "value": "4"}, ["feedback.value"]),
        ({"kind": "edit", "value": 1.01}, ["feedback.value"]),
        ({"kind": "edit", "value": -0.01}, ["feedback.value"]),
        ({"kind": "copy", "value": 1}, ["feedback.value"]),
        ({"at": -1}, ["feedback.at"]),
        ({"at": NOW * 1000}, ["feedback.at"]),
        ({"at": False}, ["feedback.at"]),
        ({"id": ""}, ["feedback.id"]),
        ({"id": "a b"}, ["feedback.id"]),
        ({"id": "x" * 101}, ["feedback.id"]),
        ({"id": 7}, ["feedback.id"]),
        ({"token": "x"}, ["feedback.token"]),
        ({"token": 7}, ["feedback.token"]),
        ({"token": None}, ["feedback.answer"]),
        ({"request_id": REQUEST}, ["feedback.answer"]),
        ({"token": None, "request_id": REQUEST.upper()}, ["feedback.request-id"]),
        ({"token": None, "request_id": REQUEST[:-1]}, ["feedback.request-id"]),
        ({"token": None, "request_id": REQUEST + "\n"}, ["feedback.request-id"]),
        ({"token": None, "request_id": 7}, ["feedback.request-id"]),
        ({"extra": 1}, ["feedback.unknown-key"]),
        (
            {"extra": 1, "kind": "edit", "value": 9, "at": "x", "token": "x", "id": ""},
            ["feedback.unknown-key", "feedback.value", "feedback.at", "feedback.token", "feedback.id"],
        ),
    ],
)
def test_what_is_wrong_is_said_all_at_once(changes: dict[str, Any], problems: list[str]) -> None:
    """Each by its name."""
    found = read(item(**changes))
    assert [problem.id for problem in found.problems] == problems
    assert found.items == ()


def test_bodies_that_are_none() -> None:
    """Too long, too many, nothing, no JSON, nested without end."""
    assert read_body(b" " * (LONGEST_BODY + 1), RULES, True, NOW).problems[0].id == "feedback.size"
    for body in (b"", b"[]", b"{", b"NaN", b"\xff", b"[" * 60_000, orjson.dumps([item()] * (MOST_ITEMS + 1))[:-1] + b"]"):
        assert [problem.id for problem in read_body(body, RULES, True, NOW).problems] == ["feedback.body"]
    assert len(read([item()] * MOST_ITEMS).items) == MOST_ITEMS
    assert [problem.id for problem in read([1, None, "x"]).problems] == ["feedback.item"] * 3


def test_who_may_name_a_request() -> None:
    """Only who has a key; a token needs none."""
    (problem,) = read(item(token=None, request_id=REQUEST), may_name=False).problems
    assert problem.id == "feedback.key"
    assert len(read(item(), may_name=False).items) == 1


def test_a_token_has_its_time() -> None:
    """After the window it is said to be too old; one from the future is said to be that."""
    (problem,) = read(item(), now=NOW + 3600).problems
    assert problem.id == "feedback.expired"
    (problem,) = read(item(), now=NOW - 3600).problems
    assert problem.id == "feedback.early"


def test_an_id_is_of_its_answer() -> None:
    """The same id of two answers is two, so that nobody uses up somebody else's."""
    other = sign(KEY, Answered("new", 7, "everyone", Arm.CANARY, "fedcba9876543210", True, NOW - 60))
    one, same, foreign, none = read([item(id="a"), item(id="a", kind="copy"), item(id="a", token=other), item()]).items
    assert one.id == same.id != foreign.id
    assert (len(one.id), none.id) == (32, "")
