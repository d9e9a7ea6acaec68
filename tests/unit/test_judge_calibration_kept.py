"""What is known of a judge is kept: anchors that see it change, its noise, people's labels, and whether it sees what is not there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import yaml

from extproc import spec
from extproc.cli.write import filled_template
from extproc.controller.calibration import PAIRS_OF_TRIAL, Calibration, identity
from extproc.domain import ApplicationType, Comparison, Exhibit, Failing, Judge, Rubric, Score, Unscored
from extproc.judge.calibrator import ROUNDS, Calibrator
from extproc.judge.shipped import anchors_for, rubric_for
from extproc.store.samples import Kept, SampleFile, label
from tests.support.samples import sample, scored

ANCHORS = anchors_for(ApplicationType.CHATBOT)
RUBRIC = rubric_for(ApplicationType.CHATBOT)
NOISE = 0.1


class Sound:
    """A judge who knows the anchors' bands, with noise; `offset` makes him milder."""

    def __init__(self, seed: int = 1) -> None:
        self.offset = 0.0
        self.away = False
        self.asked = 0
        self._random = Random(seed)
        self._worth = {anchor.exhibit: (anchor.low + anchor.high) / 2 for anchor in ANCHORS}

    async def score(self, rubric: Rubric, exhibit: Exhibit) -> Score | Unscored:
        assert rubric == RUBRIC
        self.asked += 1
        if self.away:
            return Unscored(Failing.UNREACHABLE, "away", "judge")
        value = min(1.0, max(0.0, self._worth[exhibit] + self.offset + self._random.gauss(0, NOISE)))
        return Score(value, {}, "", "judge", 1, 1, None, 0.0)

    async def prefer(self, rubric: Rubric, a: Exhibit, b: Exhibit) -> Comparison | Unscored:
        raise NotImplementedError


def calibrated(judge: Sound, rounds: int, state: Calibrator | None = None) -> Calibrator:
    made = Calibrator(judge, RUBRIC, ANCHORS, Random(2).random, state.as_json() if state is not None else None)

    async def go() -> None:
        for _ in range(rounds):
            await made.once()

    asyncio.run(go())
    return made


FIRST = ROUNDS * len(ANCHORS)


def test_the_first_rounds_are_the_reference_and_the_rest_is_compared() -> None:
    """Every anchor so many times, before one is judged again."""
    judge = Sound()
    made = calibrated(judge, FIRST - 1)
    assert made.document()["sentence"] == "1 anchor scores are missing to the judge's reference"
    again = calibrated(judge, 40, made)
    assert again.document()["changed"] is False
    assert "no change beyond 0.05 is seen" in again.document()["sentence"]
    assert f"{len(ANCHORS)} of {len(ANCHORS)} anchors are scored within their band" in again.document()["sentence"]


def test_a_judge_who_grows_milder_is_seen() -> None:
    """By the anchors alone, and it stays seen in another life."""
    judge = Sound()
    made = calibrated(judge, FIRST + 50)
    judge.offset = -0.2
    made = calibrated(judge, 400, made)
    assert made.document()["changed"] is True
    assert "the judge has changed" in made.document()["sentence"]
    assert calibrated(judge, 0, made).document()["changed"] is True


def test_a_judge_who_is_away_is_no_score_of_an_anchor() -> None:
    """Nothing is learnt of it."""
    judge = Sound()
    judge.away = True
    made = calibrated(judge, 10)
    assert judge.asked == 10
    assert made.document()["sentence"].startswith(f"{FIRST} anchor scores are missing")


# ----------------------------------------------------------------------------------------------------------------------- kept
def a_judge(**changes: object) -> Judge:
    document = yaml.safe_load(filled_template("chat", "old", "new"))
    document["judge"] = {"judges": [{"url": "http://127.0.0.1:1/v1", "model": "a-judge"}]}
    judge = spec.load(yaml.safe_dump(document)).judge
    assert judge is not None
    return replace(judge, **changes)


def test_it_is_of_one_judge_and_one_rubric() -> None:
    """Another model or another rubric is another instrument; another budget is not."""
    one = a_judge()
    assert identity(one) == identity(a_judge(sample=0.5))
    assert identity(one) != identity(a_judge(endpoints=(replace(one.endpoints[0], model="another"),)))
    assert identity(one) != identity(a_judge(rubric=replace(one.rubric, digest="0" * 16)))


def calibration(path: Path, key: str = "judge-1") -> Calibration:
    return Calibration(key, Sound(), a_judge(), ANCHORS, Random(1).random, SampleFile(path, Kept()))


def pairs(of: Calibration, count: int, gap: Callable[[Random], float]) -> None:
    draw = Random(4)
    for _ in range(count):
        worth = draw.uniform(0.4, 0.9)
        of.pair(worth + draw.gauss(0, NOISE), worth + draw.gauss(0, NOISE) + gap(draw))


def test_noise_and_trials_go_on_in_another_life(tmp_path: Path) -> None:
    """Saved, and read again under the same key; under another one it begins anew."""
    one = calibration(tmp_path / "x.samples")
    pairs(one, 21 * PAIRS_OF_TRIAL, lambda _: 0.0)
    one.save()
    said = calibration(tmp_path / "x.samples").document()
    assert said["noise"]["sd"] == pytest.approx(NOISE, abs=0.02)
    assert "sees no difference between like arms" in said["same_arms"]
    assert calibration(tmp_path / "x.samples", "judge-2").document()["noise"] is None


def test_what_is_kept_already_is_not_written_again(tmp_path: Path) -> None:
    """It is asked for every two seconds; what somebody else wrote meanwhile stays until there is something new."""
    one, file = calibration(tmp_path / "x.samples"), SampleFile(tmp_path / "x.samples", Kept())
    pairs(one, 1, lambda _: 0.0)
    one.save()
    file.calibrate("judge-2", {})
    one.save()
    assert file.calibration("judge-2") == {}
    pairs(one, 1, lambda _: 0.0)
    one.save()
    assert file.calibration("judge-2") is None


def test_a_judge_whose_second_opinion_is_always_milder_is_told(tmp_path: Path) -> None:
    """He sees a difference where there is none."""
    one = calibration(tmp_path / "x.samples")
    pairs(one, 25 * PAIRS_OF_TRIAL, lambda _: 0.3)
    assert "do not decide by it" in one.document()["same_arms"]


def test_people_who_agree_are_told_from_people_who_do_not(tmp_path: Path) -> None:
    """From thirty labels on."""
    path = tmp_path / "x.samples"
    file = SampleFile(path, Kept())
    for number in range(40):
        level = 1 + number % 5
        file.add(sample(number), 0.0)
        file.score(scored(number, (level - 1) / 4))
        assert label(path, f"request-{number}", level, "ann", 1.0)
    said = calibration(path).document()["people"]
    assert "1.00" in said
