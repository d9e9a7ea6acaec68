"""The file of samples: written by one process, read by others, forgotten on demand."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from extproc.domain import Arm, Purpose
from extproc.errors import StoreError
from extproc.store.samples import Kept, SampleFile, SampleReader, ScoreLog, forget
from tests.support.samples import UNIT, sample, scored

NOW = 1_000_100.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.db.samples"


@pytest.fixture
def file(path: Path) -> SampleFile:
    return SampleFile(path, Kept())


def test_scores_are_read_once_each_in_the_order_in_which_they_were_written(file: SampleFile, path: Path) -> None:
    """The brain comes again and again, and gets what is new."""
    log = ScoreLog(path, 0.0)
    assert log.news() == []
    for number in range(5):
        file.score(scored(number))
    assert [one.stream_id for one in log.news()] == [f"request-{number}" for number in range(5)]
    assert log.news() == []
    file.score(scored(7, 0.5))
    (rating,) = log.news()
    assert (rating.stream_id, rating.value, rating.arm, rating.unit, rating.generation) == ("request-7", 0.5, Arm.CANARY, UNIT, 2)


def test_only_evidence_is_read(file: SampleFile, path: Path) -> None:
    """No second opinion, nobody who may never come again, nothing that was kept for eyes; and nothing from before `since`."""
    file.score(scored(1, again=True))
    file.score(scored(2, durable=False))
    file.score(scored(3, purpose=Purpose.DIAGNOSTIC))
    file.score(scored(4))
    file.score(scored(5))
    assert [one.stream_id for one in ScoreLog(path, 0.0).news()] == ["request-4", "request-5"]
    assert [one.stream_id for one in ScoreLog(path, scored(4).start).news()] == ["request-5"]


def test_whether_a_rule_finds_an_answer_wrong_is_a_rating_too(file: SampleFile, path: Path) -> None:
    """Of whole answers for the gate alone, without a judge; 1 where something is wrong."""
    file.add(sample(1, tripwires=("refusal", "short_answer")), NOW)
    file.add(sample(2), NOW)
    file.add(sample(3, ending="aborted"), NOW)
    file.add(sample(4, purpose=Purpose.DIAGNOSTIC, tripwires=("empty_answer",)), NOW)
    file.add(sample(5, durable=False, tripwires=("empty_answer",)), NOW)
    log = ScoreLog(path, 0.0)
    assert [(one.measure, one.stream_id, one.value) for one in log.news()] == [
        ("tripwires", "request-1", 1.0),
        ("tripwires", "request-2", 0.0),
    ]
    assert log.news() == []


def test_a_reader_that_is_there_first_waits_for_the_file(path: Path) -> None:
    """The brain may begin before the judge's process has."""
    log = ScoreLog(path, 0.0)
    assert log.news() == []
    assert log.standing() is None
    SampleFile(path, Kept()).score(scored())
    assert len(log.news()) == 1


def test_another_file_of_that_name_is_read_from_its_beginning(file: SampleFile, path: Path) -> None:
    """Somebody moved it away: another one was begun."""
    log = ScoreLog(path, 0.0)
    file.score(scored(1))
    assert len(log.news()) == 1
    file.close()
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    SampleFile(path, Kept()).score(scored(2))
    assert [one.stream_id for one in log.news()] == ["request-2"]


def test_how_the_judge_is_doing_is_told(file: SampleFile, path: Path) -> None:
    """The last line counts."""
    log = ScoreLog(path, 0.0)
    file.stand({"waiting": 3}, NOW)
    file.stand({"waiting": 5}, NOW + 2)
    standing = log.standing()
    assert standing is not None
    assert (standing.at, standing.document) == (NOW + 2, {"waiting": 5})


def test_money_is_added_up_and_survives(file: SampleFile, path: Path) -> None:
    """Scores and questions without an answer alike."""
    file.score(scored(1))
    file.score(scored(2))
    file.spend("chat", 0.01)
    file.close()
    assert SampleFile(path, Kept()).spent() == pytest.approx({"chat": 0.014})


def test_what_was_not_judged_is_found_again(file: SampleFile) -> None:
    """By another life of the judge: whole, for the gate, of a durable unit, young enough, without a score."""
    kept = (sample(1), sample(2, ending="aborted"), sample(3, durable=False), sample(4, purpose=Purpose.DIAGNOSTIC), sample(5), sample(6))
    for one in kept:
        file.add(one, NOW)
    file.score(scored(5))
    assert file.unscored(0.0) == [kept[0], kept[5]]
    assert file.unscored(kept[0].start) == [kept[5]]


def test_the_worst_answers_come_with_their_scores(file: SampleFile, path: Path) -> None:
    """Lowest first; the whole sample as it was written."""
    for number, value in enumerate((0.9, 0.1, 0.5)):
        file.add(sample(number, answer=f"answer {number}", tripwires=("refusal",), redacted={"email": 2}), NOW)
        file.score(scored(number, value))
    found = SampleReader(path).worst("chat", 2, Arm.CANARY, 2)
    assert [(one.answer, value) for one, value, _ in found] == [("answer 1", 0.1), ("answer 2", 0.5)]
    assert found[0][0] == sample(1, answer="answer 1", tripwires=("refusal",), redacted={"email": 2})
    assert SampleReader(path).worst("chat", 3, Arm.CANARY, 2) == []


def test_the_latest_answers_are_there_with_and_without_a_score(file: SampleFile, path: Path) -> None:
    """Newest first."""
    file.add(sample(1), NOW)
    file.add(sample(2), NOW)
    file.score(scored(1))
    assert [(one.request, value) for one, value, _ in SampleReader(path).latest("chat", 5)] == [("request-2", None), ("request-1", 0.75)]


def test_a_person_is_forgotten_for_good(file: SampleFile, path: Path) -> None:
    """Not in a query, not in the bytes of the file or of its log; others stay."""
    mark = "the only place of this sentence 8a61f0"
    file.add(sample(1, answer=mark), NOW)
    file.score(scored(1, reason=mark))
    file.add(sample(2, unit="00000000000000bb"), NOW)
    assert forget(path, UNIT) == (1, 1)
    assert [one.request for one, _, _ in SampleReader(path).latest("chat", 5)] == ["request-2"]
    for suffix in ("", "-wal"):
        name = Path(f"{path}{suffix}")
        assert not name.exists() or mark.encode() not in name.read_bytes()
    assert forget(path, UNIT) == (0, 0)
    file.add(sample(3), NOW)


def test_there_is_nothing_to_forget_where_nothing_was_kept(path: Path) -> None:
    """And no file is left behind."""
    assert forget(path, UNIT) == (0, 0)
    assert not path.exists()


def test_what_is_too_old_goes(file: SampleFile, path: Path) -> None:
    """By the time at which it was written down."""
    file.add(sample(1), NOW - 8 * 86400)
    file.add(sample(2), NOW)
    assert file.remove_old(NOW) == 1
    assert [one.request for one, _, _ in SampleReader(path).latest("chat", 5)] == ["request-2"]
    assert file.remove_old(NOW) == 0


def test_what_is_too_much_goes_the_oldest_first(path: Path) -> None:
    """The file is bounded; scores, which are small, stay for their time."""
    file = SampleFile(path, Kept(size=1 << 20))
    for number in range(400):
        file.add(sample(number, answer="x" * 8000), NOW)
    file.score(scored(1))
    while file.remove_old(NOW):
        pass
    kept = SampleReader(path).latest("chat", 1000)
    assert len(kept) < 400
    assert len(ScoreLog(path, 0.0).news()) == 1
    file.add(sample(1000), NOW)


def test_only_its_owner_reads_it(file: SampleFile, path: Path) -> None:
    """Texts of users are in there."""
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_none_is_told_as_a_problem(path: Path) -> None:
    """Id, path, and what to do; requests and decisions go on."""
    path.write_bytes(b"not a database at all, for sure" * 100)
    for act in (lambda: SampleFile(path, Kept()), lambda: ScoreLog(path, 0.0).news(), lambda: forget(path, UNIT)):
        with pytest.raises(StoreError) as raised:
            act()
        problem = raised.value.problems[0]
        assert problem.id.startswith("samples.")
        assert "requests and decisions go on" in problem.hint


def test_a_file_of_another_version_is_refused(file: SampleFile, path: Path) -> None:
    """Nothing is guessed."""
    file.close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(StoreError, match="schema 99"):
        ScoreLog(path, 0.0).news()
