"""Samples -> scores: bounded, paid for, blind to the arm; where there is no score there is a reason."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from extproc.domain import ApplicationType, Arm, Comparison, Exhibit, Failing, Purpose, Rubric, Score, Unscored
from extproc.judge.pipeline import MOST_WAITING, Pipeline, Terms
from extproc.judge.redact import Redactor
from extproc.judge.sampling import Chances
from extproc.judge.shipped import rubric_for
from extproc.store.samples import Kept, SampleFile, SampleReader, ScoreLog
from tests.support.samples import sample

RUBRIC = rubric_for(ApplicationType.CHATBOT)
Verdict = Callable[[Exhibit], Score | Unscored]


def good(exhibit: Exhibit, value: float = 0.75) -> Score:
    return Score(value, {"helpfulness": value}, f"as good as {len(exhibit.answer)} letters", "judge-1", 900, 60, Decimal("0.01"), 0.1)


def away(_: Exhibit) -> Unscored:
    return Unscored(Failing.UNREACHABLE, "it does not answer (ConnectError)", "judge-1")


class Scripted:
    """A judge who says what the test says, and remembers what was shown."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.shown: list[Exhibit] = []

    async def score(self, rubric: Rubric, exhibit: Exhibit) -> Score | Unscored:
        assert rubric == RUBRIC
        self.shown.append(exhibit)
        await asyncio.sleep(0)
        return self.verdict(exhibit)

    async def prefer(self, rubric: Rubric, a: Exhibit, b: Exhibit) -> Comparison | Unscored:
        raise NotImplementedError


class Bench:
    """A pipeline with a real file, and a clock that stands still."""

    def __init__(self, directory: Path, verdict: Verdict = good, **terms: Any) -> None:
        self.now = 1_000_010.0
        self.judge = Scripted(verdict)
        self.path = directory / "x.samples"
        self.file = SampleFile(self.path, Kept())
        made = Terms(RUBRIC, **{"within": 60.0, "again": 0.0, "per_release": None, "asked": frozenset(("chat",)), **terms})
        self.pairs: list[tuple[float, float]] = []
        pair = lambda first, second: self.pairs.append((first, second))  # noqa: E731
        self.pipeline = Pipeline(self.judge, made, self.file, Redactor(), Chances(None), lambda: self.now, self.file.spent(), pair)

    async def run(self) -> None:
        """Until nothing waits."""
        workers = [asyncio.create_task(self.pipeline.work()) for _ in range(3)]
        while self.pipeline.document()["waiting"]:
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        for worker in workers:
            worker.cancel()

    def ratings(self) -> list[float]:
        """The judge's; tripwires are read from the same file."""
        return [one.value for one in ScoreLog(self.path, 0.0).news() if one.measure == "judge"]


def test_a_sample_is_written_down_judged_and_its_score_read(tmp_path: Path) -> None:
    """From one end to the other."""
    bench = Bench(tmp_path)
    bench.pipeline.put(sample(1))
    asyncio.run(bench.run())
    assert bench.ratings() == [0.75]
    assert bench.pipeline.document()["ends"] == {"scored": 1}
    assert bench.pipeline.document()["spent"] == {"chat": 0.01}
    ((kept, value, reason),) = SampleReader(bench.path).latest("chat", 5)
    assert (kept.request, value, reason) == ("request-1", 0.75, "as good as 22 letters")


def test_the_judge_is_blind(tmp_path: Path) -> None:
    """Of two samples that differ in arm, cohort, unit and phase alone it is shown the same."""
    bench = Bench(tmp_path)
    bench.pipeline.put(sample(1))
    bench.pipeline.put(sample(2, arm=Arm.CONTROL, cohort="vip", unit="00000000000000bb", phase="50%", generation=3))
    asyncio.run(bench.run())
    assert bench.judge.shown[0] == bench.judge.shown[1]


@pytest.mark.parametrize(
    ("changes", "end"),
    [({"ending": "aborted"}, "aborted"), ({"ending": "truncated"}, "truncated"), ({"durable": False}, "anonymous")],
)
def test_what_cannot_be_evidence_is_not_paid_for(tmp_path: Path, changes: dict[str, Any], end: str) -> None:
    """Half an answer, and one to somebody who may never come again: kept, counted, not judged."""
    bench = Bench(tmp_path)
    bench.pipeline.put(sample(1, **changes))
    asyncio.run(bench.run())
    assert bench.judge.shown == []
    assert bench.pipeline.document()["ends"] == {end: 1}
    assert len(SampleReader(bench.path).latest("chat", 5)) == 1


def test_what_is_kept_for_eyes_is_not_judged(tmp_path: Path) -> None:
    """Diagnostic samples never enter Evidence, and cost nothing."""
    bench = Bench(tmp_path)
    bench.pipeline.put(sample(1, purpose=Purpose.DIAGNOSTIC))
    asyncio.run(bench.run())
    assert bench.judge.shown == []
    assert bench.ratings() == []


def test_where_rules_alone_look_no_judge_is_asked(tmp_path: Path) -> None:
    """A rollout without a gate that asks for a judge: its samples are kept and its tripwires read, at no model's cost."""
    bench = Bench(tmp_path, asked=frozenset(("another",)))
    bench.pipeline.put(sample(1))
    bench.pipeline.put(sample(2, durable=False))
    asyncio.run(bench.run())
    assert bench.judge.shown == []
    assert bench.pipeline.document()["ends"] == bench.pipeline.document()["spent"] == {}
    assert [one.measure for one in ScoreLog(bench.path, 0.0).news()] == ["tripwires"]


def test_a_judge_that_is_away_leaves_a_reason_and_no_score(tmp_path: Path) -> None:
    """NO_DATA, which is not a bad score; and the reason is the judge's own."""
    bench = Bench(tmp_path, away)
    for number in range(5):
        bench.pipeline.put(sample(number))
    asyncio.run(bench.run())
    assert bench.ratings() == []
    document = bench.pipeline.document()
    assert document["ends"] == document["lately"] == {"unreachable": 5}
    assert document["why"] == "it does not answer (ConnectError)"


def test_scores_that_would_come_too_late_are_not_asked_for(tmp_path: Path) -> None:
    """A judge that is behind is asked for what still counts."""
    bench = Bench(tmp_path, within=60.0)
    bench.pipeline.put(sample(1))
    bench.now += 100.0
    asyncio.run(bench.run())
    assert bench.judge.shown == []
    assert bench.pipeline.document()["ends"] == {"late": 1}


def test_a_score_that_came_too_late_is_kept_and_told(tmp_path: Path) -> None:
    """A judge who is slow is a reason why there is no data."""
    bench = Bench(tmp_path, within=60.0)

    def slowly(exhibit: Exhibit) -> Score:
        bench.now += 100.0
        return good(exhibit)

    bench.judge.verdict = slowly
    bench.pipeline.put(sample(1))
    asyncio.run(bench.run())
    assert bench.pipeline.document()["ends"] == {"late": 1}
    assert "waited for until its request is 60 s old" in bench.pipeline.document()["why"]
    ((_, value, _),) = SampleReader(bench.path).latest("chat", 5)
    assert value == 0.75


def test_a_release_costs_no_more_than_it_may(tmp_path: Path) -> None:
    """Three dollars cents at a cent each: three questions, the rest over the budget; a restart does not forget what is spent."""
    bench = Bench(tmp_path, per_release=0.03)
    for number in range(8):
        bench.pipeline.put(sample(number))
    asyncio.run(bench.run())
    assert 3 <= len(bench.judge.shown) <= 5, "what is under way at the limit is paid for"
    assert bench.pipeline.document()["ends"]["over_budget"] >= 3
    again = Pipeline(
        bench.judge,
        Terms(RUBRIC, 60.0, 0.0, 0.03, frozenset(("chat",))),
        bench.file,
        Redactor(),
        Chances(None),
        lambda: bench.now,
        bench.file.spent(),
        print,
    )
    assert again.document()["spent"]["chat"] >= 0.03


def test_the_queue_is_bounded_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    """The newest would come too late."""
    bench = Bench(tmp_path)
    for number in range(MOST_WAITING + 7):
        bench.pipeline.put(sample(number))
    assert bench.pipeline.document()["waiting"] == MOST_WAITING
    assert bench.pipeline.document()["ends"] == {"queue_full": 7}


def test_what_has_no_score_is_counted_by_arm(tmp_path: Path) -> None:
    """By the first question alone; another life of the process goes on counting."""
    nonsense = Unscored(Failing.NONSENSE, "it is no JSON", "judge")
    bench = Bench(tmp_path, lambda exhibit: nonsense if exhibit.answer == "Ha." else good(exhibit), again=1.0)
    for number in range(4):
        bench.pipeline.put(sample(number, answer="Ha."))
        bench.pipeline.put(sample(10 + number, arm=Arm.CONTROL))
    asyncio.run(bench.run())
    told = bench.pipeline.document()["by_arm"]["chat"]
    assert told == {"generation": 2, "ends": {"canary": {"nonsense": 4}, "control": {"scored": 4}}, "why": ""}
    bench.file.stand(bench.pipeline.document(), bench.now)
    again = Bench(tmp_path)
    again.pipeline.resume(again.file.stood())
    assert again.pipeline.document()["by_arm"]["chat"] == told
    again.pipeline.resume({"by_arm": {"chat": "of another version"}})


def test_some_answers_are_judged_twice(tmp_path: Path) -> None:
    """The second opinion is never Evidence; whoever calibrates is told of both."""
    values = iter([0.6, 0.8] * 100)
    bench = Bench(tmp_path, lambda exhibit: good(exhibit, next(values)), again=1.0)
    for number in range(40):
        bench.pipeline.put(sample(number))

    async def one_by_one() -> None:
        worker = asyncio.create_task(bench.pipeline.work())
        while bench.pipeline.document()["ends"].get("scored", 0) < 80:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        worker.cancel()

    asyncio.run(one_by_one())
    assert bench.ratings() == [0.6] * 40
    assert bench.pairs == [(0.6, 0.8)] * 40


def test_the_judges_own_words_are_redacted(tmp_path: Path) -> None:
    """It may repeat what it has read, or make it up."""
    said = Score(0.5, {"helpfulness": 0.5}, "it gave away jane.doe@example.com", "judge-1", 1, 1, None, 0.1)
    bench = Bench(tmp_path, lambda _: said)
    bench.pipeline.put(sample(1))
    asyncio.run(bench.run())
    ((_, _, reason),) = SampleReader(bench.path).latest("chat", 5)
    assert "jane.doe" not in reason
    assert "[email]" in reason


def test_a_file_that_cannot_be_written_costs_data_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Said once; the pipeline goes on, and writes again when it can."""
    bench = Bench(tmp_path)
    bench.file.close()
    for number in range(3):
        bench.pipeline.put(sample(number))
    assert bench.pipeline.document()["ends"] == {"unwritten": 3}
    assert len([one for one in caplog.records if "samples cannot be written" in one.message]) == 1
