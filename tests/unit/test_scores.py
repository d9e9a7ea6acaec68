"""Scores of the judge reach the loop, a restart doubles and loses none, and a judge that is silent holds the release and says why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from extproc import contract
from extproc.controller.scores import SILENT_AFTER, Scores
from extproc.domain import Arm, Status, Verdict
from extproc.store.samples import Kept, SampleFile
from tests.support.samples import scored
from tests.unit.test_loop import NAME, TEXT, World

WITHIN = 5.0


def judged() -> str:
    document = yaml.safe_load(TEXT)
    document["judge"] = {"judges": [{"url": "http://127.0.0.1:1/v1", "model": "a-judge"}], "within": f"{WITHIN:g}s"}
    for phase in document["rollouts"][NAME]["phases"]:
        phase["gates"] = {"errors": {"margin": "50%"}, "judge": {"margin": "20%"}}
    return yaml.safe_dump(document)


class Court(World):
    """A world with a judge's file beside its store."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, judged())
        self.file = SampleFile(Path(contract.samples_path(self.url)), Kept())
        self.scores = Scores(self.loop)
        self.given = 0

    def judge(self, canary: float, stable: float, count: int = 10) -> None:
        """The judge scores so many answers of each arm that began in this second."""
        for number in range(count):
            for arm, value in ((Arm.CANARY, canary), (Arm.CONTROL, stable)):
                self.given += 1
                self.file.score(
                    scored(
                        self.given,
                        value,
                        rollout=NAME,
                        generation=self.loop.state.rollouts[NAME].generation,
                        arm=arm,
                        unit=f"{self.given:016x}",
                        start=self.now + number / count,
                    )
                )

    def well(self) -> None:
        """The judge's process says that it is."""
        self.file.stand({"lately": {"scored": 20}, "ends": {"scored": self.given}}, self.now)

    def tick(self, canary: float, stable: float) -> None:
        self.judge(canary, stable)
        self.well()
        self.second()
        self.scores.look(self.now)

    def finding(self) -> tuple[Verdict, str]:
        (found,) = (one for one in self.loop.desks[NAME].findings if one.gate == "judge")
        return found.verdict, found.sentence


@pytest.fixture
def court(tmp_path: Path) -> Iterator[Court]:
    made = Court(tmp_path)
    yield made
    made.store.close()


def test_worse_answers_are_rolled_back_for_the_judges_word_alone(court: Court) -> None:
    """No error, no wait: what the decision says is the judge's."""
    for _ in range(40):
        court.tick(0.3, 0.8)
        if court.status is Status.ROLLED_BACK:
            break
    assert court.status is Status.ROLLED_BACK
    assert "judge: canary 0.300" in court.loop.state.rollouts[NAME].why


def test_answers_that_are_as_good_let_it_go_on(court: Court) -> None:
    """The gate passes, and the next phase begins."""
    for _ in range(60):
        court.tick(0.8, 0.8)
        if court.phase:
            return
    raise AssertionError(court.finding())


@pytest.mark.parametrize(
    ("ends", "why", "said"),
    [
        ({"unreachable": 5}, "it does not answer (ConnectError)", "unreachable"),
        ({"slow": 3, "scored": 1}, "it has not answered within 60 s", "slow"),
        ({"nonsense": 9}, "it is no JSON", "nonsense"),
        ({"over_budget": 2}, "the $5.00 are spent", "over_budget"),
    ],
)
def test_a_judge_that_does_not_judge_holds_the_release_and_says_why(court: Court, ends: dict[str, int], why: str, said: str) -> None:
    """Never a pass, never a failure; in the finding, and in what the release waits for."""
    for _ in range(40):
        court.file.stand({"lately": ends, "ends": ends, "why": why}, court.now)
        court.second()
        court.scores.look(court.now)
    assert court.status is Status.PROGRESSING
    assert court.phase == 0
    verdict, sentence = court.finding()
    assert verdict is Verdict.NO_DATA
    assert said in sentence
    assert why in sentence
    assert why in court.loop.desks[NAME].decision.why


def test_nonsense_that_the_canary_provokes_hides_nothing(court: Court) -> None:
    """The scores that are left are as good as stable's, and would pass; the gate has no data while half of them are missing in one arm
    alone, and says so. In another visit that is no reason any more."""
    why = "the judge gave no verdict on 40 of 80 of the canary's answers"

    def well(before: int = 0) -> None:
        visit = court.loop.desks[NAME].evidence.generation - before
        court.file.stand({"lately": {"scored": 20}, "by_arm": {NAME: {"generation": visit, "ends": {}, "why": why}}}, court.now)

    court.well = well  # type: ignore[method-assign]
    for _ in range(60):
        court.tick(0.8, 0.8)
    verdict, sentence = court.finding()
    assert verdict is Verdict.NO_DATA
    assert why in sentence
    assert why in court.loop.desks[NAME].decision.why
    assert (court.status, court.phase) == (Status.PROGRESSING, 0)
    court.well = lambda: well(1)  # type: ignore[method-assign]
    court.tick(0.8, 0.8)
    court.second()
    assert court.phase == 1


def test_a_judges_process_that_says_nothing_is_told(court: Court) -> None:
    """Not begun yet, and stopped."""
    court.second()
    court.scores.look(court.now)
    assert court.scores.silent(court.now) == "its process has not begun yet"
    court.well()
    court.scores.look(court.now)
    assert court.scores.silent(court.now) == ""
    assert "said nothing for 11 s" in court.scores.silent(court.now + SILENT_AFTER + 1)


def test_a_restart_neither_loses_nor_doubles_a_score(court: Court) -> None:
    """What waited is read again from the file; what was looked at is not."""
    for _ in range(12):
        court.tick(0.6, 0.8)
    before = court.loop.desks[NAME].evidence
    told, waiting = before.seen("canary", "judge").n, before.rated["judge"].waiting
    assert told > 0
    assert waiting > 0
    court.restart(judged())
    court.scores = Scores(court.loop)
    court.scores.look(court.now)
    after = court.loop.desks[NAME].evidence
    assert after.rated["judge"].late == 0
    assert after.rated["judge"].waiting == waiting
    court.now += WITHIN
    after.advance(court.now)
    assert after.seen("canary", "judge").n == told + waiting // 2
    assert after.log_e_harm("judge") != 0.0


def test_what_the_judge_does_is_shown(court: Court) -> None:
    """In `status`, and as metrics."""
    court.tick(0.8, 0.8)
    document = court.scores.document(court.now)
    assert document is not None
    assert document["ends"] == {"scored": 20}
    assert document["silent"] == ""
    text = court.scores.exposition(court.now).decode()
    assert f'{contract.METRIC_JUDGED}{{end="scored"}} 20.0' in text
    assert f"{contract.METRIC_JUDGE_SILENT} 0.0" in text


def test_a_file_that_cannot_be_read_is_a_reason_too(court: Court, tmp_path: Path) -> None:
    """The loop goes on."""
    court.file.close()
    path = Path(contract.samples_path(court.url))
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    path.write_bytes(b"no database" * 1000)
    court.scores.look(court.now)
    assert "samples" in court.scores.silent(court.now) or "damaged" in court.scores.silent(court.now)
    court.second()
    assert court.status is Status.PROGRESSING
