"""Rubrics and anchors: those that are shipped can be used, and whatever is wrong with a written one is told at once."""

from __future__ import annotations

import math

import pytest

from extproc.domain import ApplicationType, Band
from extproc.judge import anchors, rubric
from extproc.judge.anchors import AnchorsError, placed
from extproc.judge.rubric import RubricError
from extproc.judge.shipped import anchors_for, rubric_for

GOOD = """
name: mine
purpose: The application answers.
criteria:
  - name: truth
    question: Is it true?
    weight: 0.75
    anchors: [false, no, partly, mostly, wholly]
  - {name: form, question: 'Is it short?', weight: 0.25, anchors: [a, b, c, d, e]}
""".replace("false, no", "'false', 'no'")


def problems(text: str) -> list[tuple[str, str, int]]:
    with pytest.raises(RubricError) as caught:
        rubric.load(text)
    return [(problem.id, problem.path, problem.line) for problem in caught.value.problems]


@pytest.mark.parametrize("kind", list(ApplicationType))
def test_every_type_has_a_rubric_and_anchors(kind: ApplicationType) -> None:
    """Weights sum to 1, each criterion has five different anchors; about twelve exhibits, of each band at least three."""
    shipped = rubric_for(kind)
    assert shipped.name == kind
    assert math.isclose(sum(one.weight for one in shipped.criteria), 1.0)
    assert all(len(set(one.anchors)) == 5 and one.question.endswith("?") for one in shipped.criteria)
    exhibits = anchors_for(kind)
    assert len(exhibits) == len({one.name for one in exhibits}) == 12
    for band in Band:
        assert sum(one.band is band for one in exhibits) >= 3


def test_a_rubric_is_read_and_its_digest_is_of_what_the_judge_reads() -> None:
    """A comment changes no digest; a word does."""
    read = rubric.load(GOOD)
    assert [(one.name, one.weight, one.anchors[4]) for one in read.criteria] == [("truth", 0.75, "wholly"), ("form", 0.25, "e")]
    assert rubric.load("# a comment\n" + GOOD).digest == read.digest
    assert rubric.load(GOOD.replace("short?", "brief?")).digest != read.digest


def test_all_problems_come_at_once() -> None:
    """Each with its path and line, in the order of lines."""
    text = (
        GOOD.replace("purpose:", "purpos:")
        .replace("weight: 0.75", "weight: much")
        .replace("c, d, e]", "c]")
        .replace("name: form", "name: truth")
    )
    assert problems(text) == [
        ("rubric.missing-key", "purpose", 2),
        ("rubric.unknown-key", "purpos", 3),
        ("rubric.value", "criteria[0].weight", 7),
        ("rubric.value", "criteria[1].anchors", 9),
        ("rubric.twice", "criteria[1].name", 9),
    ]


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("", "rubric.empty"),
        ("name: [", "rubric.yaml"),
        ("x" * 70_000, "rubric.too-large"),
        ("- just\n- a list", "rubric.value"),
        (GOOD.replace("0.25", "0.2"), "rubric.weights"),
        (GOOD + "name: again\n", "rubric.key"),
        (GOOD.replace("a, b, c, d, e", "&x a, b, c, d, !!python/name:os.system e"), "rubric.scalar"),
        (GOOD.replace("question: Is it true?", "question: &q [x]").replace("'Is it short?'", "*q"), "rubric.shape"),
        (GOOD.replace("name: form", "name: Form!"), "rubric.value"),
        (GOOD.replace("Is it true?", "true"), "rubric.value"),
        (GOOD.replace("Is it true?", '"Is it \\e true?"'), "rubric.value"),
        (GOOD.replace("0.75", "-0.75"), "rubric.value"),
        (GOOD.replace("0.75", "!!int x"), "rubric.scalar"),
        (GOOD.replace("0.75", ".nan"), "rubric.value"),
    ],
)
def test_a_faulty_rubric_is_refused(text: str, identity: str) -> None:
    assert identity in [problem[0] for problem in problems(text)]


def test_a_misspelt_key_is_named_with_the_nearest_one() -> None:
    with pytest.raises(RubricError, match="did you mean 'weight'"):
        rubric.load(GOOD.replace("weight: 0.75", "wieght: 0.75"))


def test_faulty_anchors_are_refused_all_at_once() -> None:
    """With the line of each."""
    good = '{"name": "a", "band": "good", "conversation": [["user", "q"]], "answer": "x"}\n'
    text = good + good + "no json\n" + good.replace('"a"', '"b"').replace("good", "fine")
    with pytest.raises(AnchorsError) as caught:
        anchors.load(text)
    assert [(problem.id, problem.line) for problem in caught.value.problems] == [
        ("anchors.twice", 2),
        ("anchors.value", 3),
        ("anchors.value", 4),
    ]
    with pytest.raises(AnchorsError, match="there is none"):
        anchors.load("\n")


def test_where_scores_of_anchors_lie() -> None:
    """Outside of their band, and bad ones above good ones, are counted; an anchor without a score is left out."""
    three = anchors_for(ApplicationType.CHATBOT)[:3]
    good, middling, bad = (one.name for one in three)
    assert [one.band for one in three] == [Band.GOOD, Band.MIDDLING, Band.BAD]
    assert placed(three, {good: 0.9, middling: 0.5, bad: 0.1}).sentence.startswith("3 of 3 anchors")
    wrong = placed(three, {good: 0.2, bad: 0.8})
    assert (wrong.inside, wrong.judged, wrong.inverted, wrong.outside) == (0, 2, 1, (good, bad))
