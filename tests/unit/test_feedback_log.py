"""The log of feedback: what is acknowledged is read, in order and once; what is too much goes, and what is missing is said."""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from extproc.domain import Answered, Arm, Feedback, FeedbackKind
from extproc.errors import StoreError
from extproc.store.feedback import Cause, FeedbackFile, FeedbackLog, Gap, Keep, people
from extproc.store.feedback import file as file_room
from tests.support.disks import can_make_immutable, can_mount, immutable, no_room, small_disk

NOW = 1_800_000_000.0
UP, DOWN, RATING = FeedbackKind.THUMBS_UP, FeedbackKind.THUMBS_DOWN, FeedbackKind.RATING
ANSWERED = Answered("new", 7, "everyone", Arm.CANARY, "0123456789abcdef", True, NOW - 1.25)


def said(request: str = "", kind: FeedbackKind = UP, **changes: Any) -> Feedback:
    """By request id; of an answer of its own where none is given."""
    return replace(Feedback("", kind, None, request or str(uuid.uuid4()), None, NOW, NOW), **changes)


class Written:
    """A file, and who reads it."""

    def __init__(self, path: Path, keep: Keep = Keep()) -> None:  # noqa: B008
        self.path, self.keep = path, keep
        self.file = FeedbackFile(path, keep)
        self.log = FeedbackLog(path)

    def write(self, *all_said: Feedback, now: float = NOW) -> list[bool]:
        return self.file.write(all_said, now)

    def read(self, after: int = 0, limit: int = 10_000) -> list[Feedback]:
        return [one for _, one in self.log.after(after, limit)]

    def last(self) -> int:
        return self.log.after(0, 1_000_000)[-1][0]

    def fill(self) -> None:
        """More than fits."""
        for _ in range(100):
            self.write(*(said() for _ in range(100)))

    def close(self) -> None:
        self.file.close()
        self.log.close()


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    with closing(Written(tmp_path / "x.db.feedback")) as made:
        yield made


# ------------------------------------------------------------------------------------------------------------------- what is read
def test_what_is_written_is_read(written: Written) -> None:
    """Every field, in order, under sequences without holes, a page at a time."""
    everything = [
        said(),
        said("not a uuid"),
        said(kind=RATING, value=4.5, id="ab" * 16, at=NOW - 7.5),
        said(request_id="", token=ANSWERED),
        said(request_id="", token=replace(ANSWERED, unit="ffffffffffffffff", durable=False, arm=Arm.REST, cohort="")),
    ]
    assert written.write(*everything) == [True] * 5
    lines = written.log.after(0, 100)
    assert [one for _, one in lines] == everything
    first = lines[0][0]
    assert [sequence for sequence, _ in lines] == list(range(first, first + 5))
    assert written.log.after(first + 1, 2) == lines[2:4]


def test_nothing_new_costs_a_number(written: Written) -> None:
    """No statement but PRAGMA data_version, until somebody has written."""
    written.write(said())
    last = written.last()
    assert written.read(last) == []
    statements: list[str] = []
    assert written.log._db is not None
    written.log._db.set_trace_callback(statements.append)
    assert written.read(last) == []
    assert statements == ["PRAGMA data_version"]
    written.write(said("r2"))
    assert [one.request_id for one in written.read(last)] == ["r2"]


def test_no_file_yet(written: Written) -> None:
    """The brain may ask before the service has begun."""
    assert written.read() == []
    assert written.log.gap(0) is None
    written.write(said("r"))
    assert [one.request_id for one in written.read()] == ["r"]


# ------------------------------------------------------------------------------------------------------------------ once, and last
def test_a_double_click_counts_once(written: Written) -> None:
    """In one post or in two; of another answer, or another kind, it is something else."""
    assert written.write(said("a"), said("a"), said("b"), said("a", FeedbackKind.COPY)) == [True, False, True, True]
    assert written.write(said("a"), said("a", FeedbackKind.COPY)) == [False, False]
    assert len(written.read()) == 3


def test_a_change_of_mind_counts(written: Written) -> None:
    """Up, down, up again: three lines, of which the last one stands; the same holds of ratings."""
    kinds = [UP, DOWN, DOWN, UP]
    assert [written.write(said("a", kind)) for kind in kinds] == [[True], [True], [False], [True]]
    assert written.write(*(said("a", RATING, value=value) for value in (4, 5, 5.0, 4))) == [True, True, False, True]
    assert [one.kind for one in written.read()][:3] == [UP, DOWN, UP]


def test_an_id_counts_once(written: Written) -> None:
    """Sent again after a change of mind, it does not undo the change."""
    up, down = said("a", id="01" * 16), said("a", DOWN, id="02" * 16)
    assert written.write(up, up) == [True, False]
    assert written.write(down, up) == [True, False]
    assert written.write(said("a", DOWN)) == [False], "what says the same without an id is a double click"
    assert written.write(said("a")) == [True]
    assert [one.kind for one in written.read()] == [UP, DOWN, UP]


def test_the_same_answer_by_token(written: Written) -> None:
    """However often it was signed."""
    one = said(request_id="", token=ANSWERED)
    assert written.write(one, replace(one, token=replace(ANSWERED))) == [True, False]


def test_what_is_forgotten_counts_anew(tmp_path: Path) -> None:
    """An id is known as long as its line is kept."""
    with closing(Written(tmp_path / "x", Keep(seconds=100))) as written:
        one = said("a", id="01" * 16)
        written.write(one)
        written.file.read_up_to(written.last())
        written.file.sweep(NOW + 99)
        assert written.write(one, now=NOW + 99) == [False]
        written.file.sweep(NOW + 101)
        assert written.write(replace(one, received=NOW + 101), now=NOW + 101) == [True]


# ------------------------------------------------------------------------------------------------------------------------- people
def test_a_person_is_taken_out_while_the_service_goes_on(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """By token, and by request id where the request is known to be theirs; nobody else's, not a byte is left, and the log goes on."""
    monkeypatch.setattr(people, "CHUNK", 2)
    other = replace(ANSWERED, unit="ffffffffffffffff")
    theirs = [said(request_id="", token=replace(ANSWERED, cohort="forgettable", start=NOW - second)) for second in range(3)]
    by_id = [said("theirs", id="01" * 16), said("7a0c1b9e-4a52-4d53-9f0e-0123456789ab", DOWN)]
    kept = [said(request_id="", token=other), said("somebody's", DOWN)]
    written.write(*theirs, kept[0], *by_id, kept[1])
    resume = written.last()
    requests = {"theirs", "7a0c1b9e-4a52-4d53-9f0e-0123456789ab", "unheard of"}
    assert people.forget(written.path, ANSWERED.unit, requests) == 5
    assert written.read() == kept
    assert not any(b"forgettable" in Path(f"{written.path}{suffix}").read_bytes() for suffix in ("", "-wal"))
    assert written.log.gap(resume) is None
    assert written.write(kept[0], by_id[0]) == [False, True]
    assert written.read(resume) == [by_id[0]]
    assert people.forget(written.path, ANSWERED.unit) == 0


def test_nobody_is_forgotten_where_nothing_is_kept(tmp_path: Path) -> None:
    """No file is made for it; one of another version is left alone."""
    assert people.forget(tmp_path / "x", ANSWERED.unit) == 0
    assert not (tmp_path / "x").exists()
    with closing(sqlite3.connect(tmp_path / "x")) as db:
        db.execute("PRAGMA user_version=9")
    with pytest.raises(StoreError, match="schema 9"):
        people.forget(tmp_path / "x", ANSWERED.unit)


# ---------------------------------------------------------------------------------------------------------------------- retention
def test_age_waits_for_the_brain(tmp_path: Path) -> None:
    """What it has not read stays, however old; then it goes, and nothing was missed."""
    with closing(Written(tmp_path / "x", Keep(seconds=100))) as written:
        for number in range(10):
            written.write(said(f"{number}", received=NOW + number), now=NOW + number)
        written.file.sweep(NOW + 1000)
        assert len(written.read()) == 10
        last = written.last()
        written.file.read_up_to(last - 5)
        written.file.sweep(NOW + 1002)
        assert [one.request_id for one in written.read()] == ["5", "6", "7", "8", "9"]
        written.file.read_up_to(last)
        written.file.sweep(NOW + 107.5)
        assert [one.request_id for one in written.read()] == ["8", "9"], "by age, once it was read"
        assert written.log.gap(last - 2) is None
        with closing(sqlite3.connect(written.path)) as db:
            assert db.execute("SELECT count(*) FROM seen").fetchone() == (2,)


def test_the_cursor_survives_its_process(tmp_path: Path) -> None:
    """Another one removes what was read before it was there."""
    with closing(Written(tmp_path / "x", Keep(seconds=100))) as written:
        written.write(said("a"))
        written.file.read_up_to(written.last())
        written.file.sweep(NOW)
        written.file._release()
        written.file = FeedbackFile(written.path, written.keep)
        written.file.sweep(NOW + 200)
        assert written.read() == []


def test_a_slot_that_spoke_again_is_known(tmp_path: Path) -> None:
    """The first line of a thumb goes, the second one still makes a third the same."""
    with closing(Written(tmp_path / "x", Keep(seconds=100))) as written:
        written.write(said("a"))
        first = written.last()
        written.write(said("a", DOWN, received=NOW + 90), now=NOW + 90)
        written.file.read_up_to(first + 1)
        written.file.sweep(NOW + 150)
        assert [one.kind for one in written.read()] == [DOWN]
        assert written.write(said("a", DOWN)) == [False]


def test_size_wins_and_the_gap_is_stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file stays bounded though nobody reads; a reader is told exactly how many he missed, and where he goes on."""
    monkeypatch.setattr(file_room, "CHUNK", 200)
    with closing(Written(tmp_path / "x", Keep(size=300_000))) as written:
        read = 0
        for batch in range(50):
            written.write(*(said() for _ in range(200)), now=NOW + batch)
            for _ in range(3):
                written.file.sweep(NOW + batch)
            if batch == 1:
                read = written.last()
        assert written.path.stat().st_size < 400_000
        kept = written.log.after(0, 100_000)
        gap = written.log.gap(read)
        assert gap is not None
        assert (gap.cause, gap.count, gap.resume) == (Cause.REMOVED, 50 * 200 - 400 - len(kept), kept[0][0] - 1)
        assert [sequence for sequence, _ in kept] == list(range(kept[0][0], kept[-1][0] + 1))
        unread = written.log.gap(0)
        assert unread is not None
        assert unread.count == 50 * 200 - len(kept)
        assert written.log.gap(gap.resume) is None


# ------------------------------------------------------------------------------------------------------------------ what fails
def test_a_full_disk() -> None:
    """Nothing is kept and it is said; with room again the same is kept."""
    if not can_mount():
        pytest.skip("needs root with its privileges")
    with small_disk() as disk, closing(Written(disk / "x")) as written:
        written.write(said("a"))
        with no_room(disk):
            with pytest.raises(StoreError) as caught:
                written.fill()
            assert caught.value.problems[0].id == "feedback.full"
        before = len(written.read())
        assert written.write(said("b")) == [True]
        assert len(written.read()) == before + 1


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    """Immutable: said; then it goes on."""
    if not can_make_immutable(tmp_path):
        pytest.skip("needs root and a file system with attributes")
    with closing(Written(tmp_path / "x")) as written:
        written.write(said("a"))
        written.file.close()
        with ExitStack() as stack:
            stack.enter_context(immutable(written.path))
            with pytest.raises(StoreError) as caught:
                written.write(said("b"))
            assert caught.value.problems[0].id == "feedback.read-only"
            assert "told to send it again" in caught.value.problems[0].hint
        assert written.write(said("b")) == [True]


def test_a_file_that_is_locked(written: Written) -> None:
    """Nothing is written; it is when the other one has gone."""
    written.write(said("a"))
    with closing(sqlite3.connect(written.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError) as caught:
            written.write(said("b"))
        assert caught.value.problems[0].id == "feedback.busy"
    assert written.write(said("b")) == [True]


def test_somebody_who_never_ends_reading(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's log does not grow without end: writing stops and says why."""
    monkeypatch.setattr(file_room, "LONGEST_LOG", 200_000)
    monkeypatch.setattr(file_room, "WAIT", 0.05)
    written.write(said())
    with closing(sqlite3.connect(written.path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM log").fetchone()
        with pytest.raises(StoreError) as caught:
            written.fill()
        assert caught.value.problems[0].id == "feedback.held"
    assert written.write(said()) == [True]


def test_a_damaged_file_is_put_aside(written: Written) -> None:
    """Never deleted; the log begins anew with sequences beyond the old ones, and its reader is told."""
    written.write(*(said() for _ in range(2000)))
    read = written.last()
    written.close()
    content = bytearray(written.path.read_bytes())
    content[4096:] = b"\x55" * (len(content) - 4096)
    written.path.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        written.write(said(), now=NOW + 5)
    assert caught.value.problems[0].id == "feedback.damaged"
    assert written.write(said("after"), now=NOW + 6) == [True]
    (aside,) = written.path.parent.glob("*.damaged-*")
    assert aside.read_bytes()[4096:] == content[4096:]
    (line,) = written.log.after(read, 10)
    assert line[0] > read
    assert line[1].request_id == "after"
    assert written.log.gap(read) == Gap(Cause.ANEW, None, line[0] - 1)
    assert written.log.gap(line[0]) is None


def test_a_file_that_is_deleted_or_replaced(written: Written, tmp_path: Path) -> None:
    """The log goes on in what has the name; a reader who is ahead of it goes back."""
    written.write(said("a"))
    read = written.last()
    written.path.unlink()
    written.write(said("b"), now=NOW + 1)
    assert [one.request_id for one in written.read(read)] == ["b"]
    with closing(Written(tmp_path / "other")) as other:
        other.write(said("old"), now=NOW - 1000)
    os.rename(tmp_path / "other", written.path)
    assert written.write(said("c"), now=NOW + 2) == [True]
    gap = written.log.gap(read)
    assert gap is not None
    assert gap.cause is Cause.ANEW
    assert [one.request_id for one in written.read(gap.resume)] == ["old", "c"]


def test_a_file_of_another_version(written: Written) -> None:
    """Neither written nor read."""
    written.write(said())
    written.close()
    with closing(sqlite3.connect(written.path)) as db:
        db.execute("PRAGMA user_version=99")
    for use in (lambda: written.write(said()), written.read):
        with pytest.raises(StoreError) as caught:
            use()
        assert caught.value.problems[0].id == "feedback.schema"


def test_only_the_owner_may_read_it(written: Written) -> None:
    """It says who thought what."""
    written.write(said())
    assert written.path.stat().st_mode & 0o777 == 0o600


def test_a_commit_reaches_the_disk(written: Written) -> None:
    """SQLite synchronises its log with each commit: a power cut takes nothing away that was acknowledged."""
    written.write(said())
    assert written.file._db is not None
    assert written.file._db.execute("PRAGMA synchronous").fetchone() == (2,)
