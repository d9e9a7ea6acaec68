"""Several judges as one: the mean with a quorum, the majority."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from extproc.domain import Comparison, Exhibit, Failing, Preference, Rubric, Score, Unscored
from extproc.judge.panel import Panel, majority, mean_score
from tests.support.judging import RUBRIC, client, endpoint, exhibit, running

A, B, TIE = Preference.A, Preference.B, Preference.TIE


def score(value: float, judge: str = "j", usd: str | None = "0.01") -> Score:
    return Score(value, {"c": value}, "why", judge, 100, 10, Decimal(usd) if usd else None, 1.0)


def vote(word: Preference) -> Comparison:
    return Comparison(word, {"c": word}, word, word.swapped, "why", "j", 100, 10, None, 1.0)


SILENT = Unscored(Failing.SLOW, "it has not answered within 5 s", "k", 7, 1, Decimal("0.5"))


def test_the_mean_of_those_that_answered_and_the_bill_of_all() -> None:
    """One that is silent costs nothing of the score; what it spent is on the bill."""
    found = mean_score("panel", [score(0.9), score(0.6), SILENT], 2, 3.0)
    assert isinstance(found, Score)
    assert found.value == pytest.approx(0.75)
    assert found.by_criterion == {"c": pytest.approx(0.75)}
    assert (found.judge, found.input_tokens, found.output_tokens, found.cost_usd, found.seconds) == ("panel", 207, 21, Decimal("0.52"), 3.0)
    free = mean_score("panel", [score(0.5, usd=None)], 1, 1.0)
    assert isinstance(free, Score)
    assert free.cost_usd is None


def test_without_a_quorum_there_is_no_score() -> None:
    """With who was silent and why; the kind is the most common one."""
    found = mean_score("panel", [score(0.9), SILENT, Unscored(Failing.SLOW, "also", "l")], 2, 3.0)
    assert isinstance(found, Unscored)
    assert (found.kind, found.judge, found.input_tokens) == (Failing.SLOW, "panel", 107)
    assert "1 of 3 judges answered, 2 are needed" in found.why
    assert "k: it has not answered" in found.why
    assert isinstance(majority("panel", [SILENT], 1, 0.0), Unscored)


@pytest.mark.parametrize(
    ("words", "said"),
    [((A, A, B), A), ((B, B, TIE), B), ((A, B, TIE), TIE), ((A, A, B, B), TIE), ((A, TIE), TIE), ((A,), A), ((TIE, TIE, A), TIE)],
)
def test_more_than_half_decide(words: tuple[Preference, ...], said: Preference) -> None:
    found = majority("panel", [vote(word) for word in words], 1, 1.0)
    assert isinstance(found, Comparison)
    assert found.preference is said
    assert found.by_criterion == {"c": said}


def test_a_quorum_is_more_than_half_by_default() -> None:
    class Nobody:
        async def score(self, rubric: Rubric, exhibit: Exhibit) -> Score | Unscored:
            return SILENT

        async def prefer(self, rubric: Rubric, a: Exhibit, b: Exhibit) -> Comparison | Unscored:
            return SILENT

    assert [Panel("p", [Nobody()] * count).quorum for count in (1, 2, 3, 4)] == [1, 2, 2, 3]
    for quorum in (0, 3):
        with pytest.raises(ValueError, match="quorum"):
            Panel("p", [Nobody()] * 2, quorum)


def test_three_judges_over_http_one_of_them_down() -> None:
    """A mild, a strict and a dead one: the panel's score lies between, and its preference is theirs."""

    async def ask(urls: list[str]) -> tuple[Score | Unscored, Comparison | Unscored]:
        judges = [client(endpoint(url, name=f"j{number}")) for number, url in enumerate(urls)]
        panel = Panel("panel", judges)
        found = await panel.score(RUBRIC, exhibit(0.5)), await panel.prefer(RUBRIC, exhibit(0.9), exhibit(0.2))
        for judge in judges:
            await judge.close()
        return found

    with running(offset=0.25) as mild, running(offset=-0.25) as strict:
        found, preferred = asyncio.run(ask([mild.url, strict.url, "http://127.0.0.1:9/v1"]))
    assert isinstance(found, Score)
    assert found.value == pytest.approx(0.5, abs=0.06)
    assert "j0: " in found.reason
    assert isinstance(preferred, Comparison)
    assert preferred.preference is A
