"""A run: what is asked in which order, what the judge is shown, and what becomes of questions that bring nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType

import orjson
import pytest

from extproc.domain import ApplicationType, Comparison, Exhibit, Failing, Model, Preference, Prices, Rubric, Score, Unscored
from extproc.errors import Problem, SettingsError
from extproc.judge import trial as trial_module
from extproc.judge.asking import Reply
from extproc.judge.assembly import Exchange
from extproc.judge.budget import Budget
from extproc.judge.offline.questions import Question, load
from extproc.judge.offline.records import Header, Line, Side
from extproc.judge.results import Results
from extproc.judge.shipped import rubric_for
from extproc.judge.trial import Ended, Terms, Trial, ordered
from tests.support.specs import model

HEADER = Header("r", "c", "s", "p", "u", "j", "t")
RUBRIC = rubric_for(ApplicationType.CHATBOT)
QUESTIONS = load("\n".join(f'{{"id":"q{number}","prompt":"Question {number}, please?"}}' for number in range(12)))
PRICES = Prices(Decimal(1), Decimal(1), Decimal(1000))
Says = Callable[[Exhibit], Score | Unscored]


class Scripted:
    """A model that answers with its own name in the model field alone, or fails."""

    def __init__(self, name: str, quality: float, fails: frozenset[str] = frozenset(), prices: Prices | None = None) -> None:
        self.model: Model = replace(model(name), prices=prices)
        self.asked: list[str] = []
        self._quality, self._fails = quality, fails

    async def ask(self, body: bytes) -> Reply:
        text = orjson.loads(body)["messages"][0]["content"]
        self.asked.append(text)
        await asyncio.sleep(0)
        if any(word in text for word in self._fails):
            return Reply(None, "no answer within 9 s", 9.0, 1)
        choice = {"index": 0, "message": {"role": "assistant", "content": f"worth {self._quality}"}, "finish_reason": "stop"}
        said = {"model": self.model.name, "choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 20}}
        return Reply(Exchange("/v1/chat/completions", body, orjson.dumps(said)), "", 0.1, 1)


class Marker:
    """A judge who reads the worth that is written; what `says` gives instead comes first."""

    def __init__(self, says: Callable[[int, Exhibit], Unscored | None] = lambda number, exhibit: None) -> None:
        self.shown: list[Exhibit] = []
        self._says = says

    async def score(self, rubric: Rubric, exhibit: Exhibit) -> Score | Unscored:
        self.shown.append(exhibit)
        value = float(exhibit.answer.split()[1])
        return self._says(len(self.shown), exhibit) or Score(
            value, MappingProxyType({one.name: value for one in rubric.criteria}), "read", "j", 100, 10, Decimal("0.001"), 0.1
        )

    async def prefer(self, rubric: Rubric, a: Exhibit, b: Exhibit) -> Comparison | Unscored:
        better = Preference.A if a.answer > b.answer else Preference.B
        return Comparison(better, MappingProxyType({}), better, better.swapped, "A or B", "j", 200, 20, Decimal("0.002"), 0.1)


def run(
    path: Path,
    judge: Marker,
    canary: Scripted,
    stable: Scripted | None = None,
    questions: tuple[Question, ...] = QUESTIONS,
    again: float = 0.0,
    usd: str = "100",
) -> tuple[Ended, Results]:
    models = {Side.CANARY: canary} if stable is None else {Side.CANARY: canary, Side.STABLE: stable}

    async def whole() -> tuple[Ended, Results]:
        with Results(path, HEADER) as results:
            trial = Trial(questions, models, judge, results, Budget(Decimal(usd), 1e12), str, Terms(RUBRIC, again, None, 1, 3))
            return await trial.run(), results

    return asyncio.run(whole())


def unscored(kind: Failing) -> Unscored:
    return Unscored(kind, "as the test says", "j", 5, 5, Decimal("0.01"))


def test_both_get_the_same_and_the_judge_knows_nobody(tmp_path: Path) -> None:
    """Every prompt once to each; no name of a model or an arm is in what the judge sees; the better one wins from either place."""
    canary, stable, judge = Scripted("new-model", 0.75), Scripted("old-model", 0.5), Marker()
    ended, results = run(tmp_path, judge, canary, stable)
    assert ended is Ended.DONE
    assert sorted(canary.asked) == sorted(stable.asked) == sorted(f"Question {number}, please?" for number in range(12))
    assert not any(word in str(judge.shown) for word in ("new-model", "old-model", "canary", "stable"))
    assert [one.answer for one in judge.shown] != sorted((one.answer for one in judge.shown), key=len)
    record = results.record
    assert {one.winner for one in record.preferences.values()} == {Side.CANARY}
    assert {one.a for one in record.preferences.values()} == set(Side)
    assert record.scores[Side.CANARY, "q3"].value == 0.75


def test_the_order_is_the_seeds_and_a_larger_limit_adds() -> None:
    """The same seed draws the same order; limits are prefixes of it."""
    drawn = ordered(QUESTIONS, 1, None)
    assert drawn == ordered(QUESTIONS, 1, None) != ordered(QUESTIONS, 2, None)
    assert sorted(drawn, key=lambda one: one.id) == sorted(QUESTIONS, key=lambda one: one.id)
    assert ordered(QUESTIONS, 1, 4) == drawn[:4]


def test_what_failed_is_not_judged(tmp_path: Path) -> None:
    """Neither by itself nor beside the other, and it is written down as what it is."""
    canary, stable, judge = Scripted("new", 0.5, frozenset({"Question 3,"})), Scripted("old", 0.5), Marker()
    _, results = run(tmp_path, judge, canary, stable)
    assert results.record.answers[Side.CANARY, "q3"].failed
    assert len(judge.shown) == 23
    assert "q3" not in results.record.preferences
    run(tmp_path, judge, canary, stable)
    assert (len(canary.asked), len(judge.shown)) == (12, 23)


def test_a_part_is_judged_twice_and_stays_so(tmp_path: Path) -> None:
    """About as many as the Spec says, drawn from the answers by hash; a second run adds none."""
    questions = load("\n".join(f'{{"id":"q{number}","prompt":"Question {number}"}}' for number in range(100)))
    judge = Marker()
    _, results = run(tmp_path, judge, Scripted("new", 0.5), questions=questions, again=0.3)
    twice = len(results.record.again)
    assert 15 <= twice <= 45
    assert len(judge.shown) == 100 + twice
    run(tmp_path, judge, Scripted("new", 0.5), questions=questions, again=0.3)
    assert len(judge.shown) == 100 + twice


def test_nonsense_is_asked_again_and_then_has_no_score(tmp_path: Path) -> None:
    """Three tries; each is paid for; nothing is guessed, and the next run asks it again."""
    judge = Marker(lambda _, exhibit: unscored(Failing.NONSENSE) if "Question 3," in str(exhibit) else None)
    ended, results = run(tmp_path, judge, Scripted("new", 0.5))
    assert ended is Ended.DONE
    assert (Side.CANARY, "q3") not in results.record.scores
    assert [one.failing for one in results.record.unjudged] == ["nonsense"] * 3
    assert results.record.judge_usd == pytest.approx(11 * 0.001 + 3 * 0.01)
    _, results = run(tmp_path, Marker(), Scripted("new", 0.5))
    assert len(results.record.scores) == 12


def test_a_judge_that_comes_back_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within its patience nothing is lost; beyond it the run ends, and says why."""
    monkeypatch.setattr(trial_module, "PAUSE", 0.01)
    ended, results = run(
        tmp_path / "a", Marker(lambda number, _: unscored(Failing.UNREACHABLE) if number < 9 else None), Scripted("n", 0.5)
    )
    assert (ended, len(results.record.scores)) == (Ended.DONE, 12)
    monkeypatch.setattr(trial_module, "PATIENCE", 0.05)
    ended, results = run(tmp_path / "b", Marker(lambda *_: unscored(Failing.SLOW)), Scripted("n", 0.5))
    assert (ended, len(results.record.scores)) == (Ended.NO_JUDGE, 0)
    assert len(results.record.answers) < 12


def test_money_stops_a_run_before_it_is_gone(tmp_path: Path) -> None:
    """What an answer may cost is set aside before it is asked for; the judge's own word for it ends the run as well."""
    canary = Scripted("new", 0.5, prices=PRICES)  # 1,000 tokens are set aside: a dollar; twenty are used
    ended, results = run(tmp_path / "a", Marker(), canary, usd="1.1")
    assert ended is Ended.BUDGET
    assert 0 < len(canary.asked) < 12
    assert results.record.usd <= 1.1
    ended, _ = run(tmp_path / "b", Marker(lambda number, _: unscored(Failing.OVER_BUDGET) if number > 2 else None), Scripted("n", 0.5))
    assert ended is Ended.BUDGET


def test_a_disk_that_is_full_is_a_problem_and_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends with the Problem, whatever else is under way."""

    def full(_: Results, line: Line) -> None:
        raise SettingsError(Problem("judge.results", "x", "cannot be written: No space left on device", "make room"))

    monkeypatch.setattr(Results, "add", full)
    with pytest.raises(SettingsError, match="No space left"):
        run(tmp_path, Marker(), Scripted("n", 0.5), Scripted("o", 0.5))
