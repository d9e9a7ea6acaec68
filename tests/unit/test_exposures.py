"""The file of exposures: what is written is read again, what is too much goes, what is missing is said."""

from __future__ import annotations

import itertools
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.domain import Reason, Undecided
from extproc.errors import StoreError
from extproc.store.exposures import (
    Batch,
    Cause,
    Exposure,
    ExposureFile,
    Gap,
    Keep,
    Listing,
    Stray,
    Summary,
    Wanted,
    guessed,
    instant,
    retention,
)
from extproc.store.exposures import file as file_room
from extproc.store.exposures.gaps import GUESSED
from extproc.store.exposures.record import UNDECIDED, packed_request, packed_unit, request_text, unit_text
from extproc.store.exposures.retention import NO_END
from extproc.store.exposures.wanted import SILENT_AFTER, between
from tests.support.outcomes import outcome

NOW = 1_800_000_000.0
UUID = "7a0c1b9e-4a52-4d53-9f0e-0123456789ab"


class Written:
    """A file with a clock that is an argument."""

    def __init__(self, path: Path, keep: Keep = Keep(), started: float = NOW, warm_up: float = 0.0) -> None:  # noqa: B008
        self.path = path
        self.keep, self.started, self.warm_up = keep, started, warm_up
        self.file = ExposureFile(path, keep, started, warm_up)

    def write(self, *heard: Any, now: float = NOW, gaps: tuple[Gap, ...] = (), attempts: Any = (), rate: float = 5.0) -> None:
        batch = Batch()
        batch.add(heard)
        self.file.write(batch.lines, gaps, attempts, now, rate, now)

    def again(self, now: float) -> None:
        """Another process, after a kill: what was open is just gone."""
        self.file._release()
        self.file = ExposureFile(self.path, self.keep, now, self.warm_up)

    def read(self, now: float = NOW, **wanted: Any) -> tuple[list[Exposure], Summary]:
        with closing(Listing(self.path, Wanted("new", **wanted), now)) as listing:
            lines = [line for page in listing.pages() for line in page]
            return lines, listing.summary

    def size(self) -> int:
        return self.path.stat().st_size


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    made = Written(tmp_path / "x.db.exposures")
    yield made
    made.file._release()


def met(number: int, **changes: Any) -> Any:
    return outcome(number, **{"stream_id": str(uuid.uuid4()), "reason": Reason.RING, "start": NOW - 1.0, **changes})


def names(lines: list[Exposure]) -> list[str]:
    return [line.request for line in lines]


# ------------------------------------------------------------------------------------------------------------------------- lines
def test_what_is_written_is_read(written: Written) -> None:
    """Every field, as the access log told it."""
    one = met(
        7, stream_id=UUID, phase="25%", cohort="de", duration=1.234567, status=503, failed=True, throttled=False, model="gpt-5", attempts=3
    )
    written.write(one, attempts=[("new", 1, 1, NOW - 50), ("new", 2, 4, NOW - 20)])
    (line,), summary = written.read()
    assert line == Exposure(
        rollout="new",
        attempt=4,
        generation=2,
        phase="25%",
        cohort="de",
        arm="canary",
        reason="ring",
        request=UUID,
        unit="0000000000000007",
        id="",
        durable=True,
        start=NOW - 1.0,
        seconds=1.234567,
        ended=True,
        status=503,
        failed=True,
        client_aborted=False,
        throttled=False,
        answered_by="new",
        model="gpt-5",
        input_tokens=10,
        cached_tokens=0,
        output_tokens=20,
        reasoning_tokens=0,
    )
    assert (summary.requests, summary.failed, summary.units, summary.open, summary.began, summary.as_of) == (1, 1, 1, 0, NOW, NOW)
    assert summary.gaps == []


def test_a_request_that_no_router_decided(written: Written) -> None:
    """It has no unit; the rollout is the one whose canary has answered."""
    undecided = Undecided("new", "gpt-5", False, 20, UUID, NOW - 3.0, 0.5, 200)
    written.write(Stray(undecided, "new", 9, "50%"))
    (line,), summary = written.read()
    assert (line.reason, line.unit, line.request, line.seconds, line.phase, line.generation) == (UNDECIDED, "", UUID, 0.5, "50%", 9)
    assert (summary.undecided, summary.units, summary.transient) == (1, 0, 0)


def test_an_open_request_is_there_before_its_end_and_once(written: Written) -> None:
    """Heard of again and again, then it ends: one line, whatever was killed in between."""
    one = met(1, duration=30.0)
    still = replace(one, final=False, duration=1.0)
    written.write(still)
    (line,), summary = written.read()
    assert (line.ended, line.seconds, line.status, summary.open, summary.requests) == (False, None, None, 1, 1)
    written.again(NOW + 5)
    written.write(still, now=NOW + 5)
    assert written.read()[1].requests == 1
    written.write(one, now=NOW + 30)
    (line,), summary = written.read(now=NOW + 30)
    assert (line.ended, line.seconds, summary.open) == (True, 30.0, 0)


def test_an_end_that_never_comes(written: Written) -> None:
    """After a day it is among the others, its end unknown, and grows old with them."""
    written.write(met(1, final=False))
    later = NOW + NO_END + 120
    written.write(met(2, start=later), now=later)
    with closing(sqlite3.connect(written.path)) as db:
        assert db.execute("SELECT count(*) FROM open").fetchone() == (0,)
    lines, summary = written.read(now=later)
    assert sorted(line.ended for line in lines) == [False, True]
    assert summary.open == 1
    assert names(written.read(now=later, until=NOW)[0]) == [line.request for line in lines if not line.ended], "found by its own start"


def test_open_requests_are_bounded(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond that the oldest are kept like those that have ended."""
    monkeypatch.setattr(retention, "MOST_OPEN", 10)
    written.write(*(met(number, final=False) for number in range(25)))
    written.write(now=NOW + 60)
    with closing(sqlite3.connect(written.path)) as db:
        assert db.execute("SELECT count(*) FROM open").fetchone() == (10,)
    assert written.read(now=NOW + 60)[1].open == 25


@given(
    st.text(max_size=40)
    | st.uuids().map(str)
    | st.uuids().map(lambda one: str(one).upper())
    | st.binary(min_size=8, max_size=8).map(bytes.hex)
)
def test_any_id_is_kept_as_it_is(text: str) -> None:
    """Packed or not."""
    assert request_text(packed_request(text)) == text
    assert unit_text(packed_unit(text)) == text


@pytest.mark.parametrize("text", [" " * 32 + "----", "7a0c1b9e-4a52-4d53-9f0e-01234567 9ab", "0x00000000000001", "00 00 00 00 00 00"])
def test_what_only_looks_like_an_id(text: str) -> None:
    """It is text."""
    assert request_text(packed_request(text)) == text
    assert unit_text(packed_unit(text)) == text


def test_nonsense_costs_nobody_else(written: Written) -> None:
    """Numbers beyond 64 bits and texts without end are cut, and their neighbours are written."""
    huge = 10**30
    bad = met(1, generation=huge, start=1e25, duration=1e25, input_tokens=huge, model="m" * 5000, stream_id="s" * 5000)
    written.write(met(0), bad, met(2))
    lines, _ = written.read()
    assert len(lines) == 3
    assert (len(lines[1].model), len(lines[1].request), lines[1].generation) == (300, 300, 2**63 - 1)
    assert instant(lines[1].start) == f"{lines[1].start:.0f}", "no calendar has it"


def test_a_model_with_a_new_name_in_each_answer(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kinds are bounded; the requests are all there."""
    monkeypatch.setattr(file_room, "MOST_KINDS", 10)
    for batch in range(4):
        written.write(*(met(number, model=f"m{batch}-{number}") for number in range(8)))
    lines, _ = written.read()
    models = [line.model for line in lines]
    assert len(models) == 32
    assert models.count(file_room.OTHER) == 32 - 10
    assert written.file._opened is not None
    assert len(written.file._opened.kinds) == 11


# ------------------------------------------------------------------------------------------------------------------------ wanted
CASES: list[tuple[dict[str, Any], Callable[[Any], bool]]] = [
    ({"phase": "5%"}, lambda one: one.phase == "5%"),
    ({"cohort": "de"}, lambda one: one.cohort == "de"),
    ({"failed": True}, lambda one: one.failed),
    ({"attempt": 1}, lambda one: one.generation < 6),
    ({"attempt": 2, "phase": "25%"}, lambda one: one.generation >= 6 and one.phase == "25%"),
    ({"since": NOW + 300}, lambda one: one.start >= NOW + 300),
    ({"until": NOW + 300}, lambda one: one.start < NOW + 300),
    (
        {"since": NOW + 200, "until": NOW + 400, "cohort": "everyone"},
        lambda one: NOW + 200 <= one.start < NOW + 400 and one.cohort == "everyone",
    ),
    ({"since": NOW + 5000}, lambda one: False),
    ({"until": NOW - 5000}, lambda one: False),
    ({"attempt": 9}, lambda one: False),
]


@pytest.mark.parametrize(("wanted", "rule"), CASES, ids=[" ".join(case[0]) for case in CASES])
def test_what_is_asked_for(written: Written, wanted: dict[str, Any], rule: Callable[[Any], bool]) -> None:
    """The same as a plain look at everything that was written; some requests take ten minutes, and end among much younger ones."""
    made = []
    for second in range(0, 600, 10):
        batch = [
            met(
                number,
                start=NOW + second - (590 if number % 7 == 0 else 1),
                duration=590.0 if number % 7 == 0 else 1.0,
                phase=("1%", "5%", "25%")[number % 3],
                cohort=("de", "everyone")[number % 2],
                failed=number % 11 == 0,
                generation=2 + second // 100,
            )
            for number in range(second, second + 10)
        ]
        attempts = [("new", 1, 1, NOW), ("new", 6, 2, NOW + 400)] if not second else []
        written.write(*batch, met(1, rollout="other"), now=NOW + second, attempts=attempts)
        made += batch
    lines, summary = written.read(now=NOW + 600, **wanted)
    assert sorted(names(lines)) == sorted(one.stream_id for one in made if rule(one))
    assert summary.units == len({line.unit for line in lines})


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 4000)), max_size=60),
    st.none() | st.integers(0, 2500),
    st.none() | st.integers(0, 2500),
)
def test_no_mark_hides_a_line(heard: list[tuple[int, int]], since: int | None, until: int | None) -> None:
    """(minute, seconds before) of lines, in the order of their minute: none that is wanted lies outside of the stretch that is read."""
    lines = [(minute, minute * 60 + 30 - before) for minute, before in sorted(heard, key=lambda one: one[0])]
    marks = []
    for minute, group in itertools.groupby(enumerate(lines, start=1), key=lambda one: one[1][0]):
        mine = list(group)
        marks.append((minute, mine[0][0], min(start for _, (_, start) in mine) * 1_000_000))
    first, last = between(marks, Wanted("new", since=since, until=until), len(lines))
    for number, (_, start) in enumerate(lines, start=1):
        if (since is None or start >= since) and (until is None or start < until):
            assert first < number <= last


def test_a_list_in_parts_is_the_list(written: Written) -> None:
    """`next` goes on where the limit has cut it off, and nothing is there twice; open requests come first, once."""
    for second in range(10):
        written.write(*(met(second * 10 + number) for number in range(10)), met(1000 + second, final=False), now=NOW + second)
    whole, _ = written.read(now=NOW + 10)
    assert [line.ended for line in whole] == [False] * 10 + [True] * 100
    parts, after = [], 0
    while after is not None:
        lines, summary = written.read(now=NOW + 10, after=after, limit=30)
        parts += lines
        after = summary.next
    assert parts == whole


def test_units_are_counted_and_named(written: Written) -> None:
    """First, last, requests and failures of each; who is named has his id, nobody else, and `known` leaves the others out."""
    for second in range(20):
        written.write(met(second % 4, start=NOW + second, failed=second == 5, durable=second % 4 != 3), now=NOW + second)
    with closing(Listing(written.path, Wanted("new"), NOW + 20)) as listing:
        listing.know([("0000000000000001", "ann"), ("00000000000000ff", "nobody here")])
        lines = [line for page in listing.pages() for line in page]
        (units,) = listing.units()
        assert (listing.summary.units, listing.summary.named, listing.summary.transient) == (4, 1, 5)
    assert {line.id for line in lines if line.unit.endswith("1")} == {"ann"}
    assert {line.id for line in lines if not line.unit.endswith("1")} == {""}
    assert [(one.unit[-1], one.id, one.first - NOW, one.last - NOW, one.requests, one.failed) for one in units] == [
        ("0", "", 0.0, 16.0, 5, 0),
        ("1", "ann", 1.0, 17.0, 5, 1),
        ("2", "", 2.0, 18.0, 5, 0),
        ("3", "", 3.0, 19.0, 5, 0),
    ]
    with closing(Listing(written.path, Wanted("new", known=True), NOW + 20)) as listing:
        listing.know([("0000000000000001", "ann")])
        assert {line.id for page in listing.pages() for line in page} == {"ann"}


def test_a_request_that_ends_while_the_list_is_read(written: Written) -> None:
    """It is there, once: as it was when reading began."""
    one = met(1, duration=50.0)
    written.write(*(met(number) for number in range(5000)), replace(one, final=False))
    with closing(Listing(written.path, Wanted("new"), NOW)) as listing:
        pages = listing.pages()
        first = next(pages)
        written.write(one, met(9999), now=NOW + 1)
        lines = first + [line for page in pages for line in page]
    assert len(lines) == 5001
    assert names(lines).count(one.stream_id) == 1


# --------------------------------------------------------------------------------------------------------------------- retention
def test_old_ones_go_and_it_is_said(tmp_path: Path) -> None:
    """By age, by the minute in which they were heard of, the oldest first; what is left is exactly the rest."""
    written = Written(tmp_path / "x", Keep(seconds=3600.0))
    for minute in range(100):
        now = NOW + 60 * minute
        written.write(*(met(number, start=now, stream_id=f"{minute}-{number}") for number in range(5)), now=now)
    written.write(now=now)
    lines, summary = written.read(now=now)
    oldest = int(names(lines)[0].partition("-")[0])
    assert oldest == 99 - 60 + 1
    assert names(lines) == [f"{minute}-{number}" for minute in range(oldest, 100) for number in range(5)]
    (gap,) = summary.gaps
    assert (gap.cause, gap.about, gap.until) == (Cause.REMOVED, oldest * 5, (NOW // 60 + oldest) * 60)
    assert "200 missing: older ones were removed" in gap.sentence()
    assert written.read(now=now, since=NOW + 60 * (oldest + 1))[1].gaps == [], "whoever asks for later misses nothing"


def test_the_file_stays_below_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is written; and it becomes smaller where less is wanted."""
    monkeypatch.setattr(retention, "CHUNK", 2000)
    bound = 1 << 20
    written = Written(tmp_path / "x", Keep(size=bound))
    for batch in range(60):
        written.write(*(met(number) for number in range(1000)), now=NOW + batch)
        assert written.size() < bound + 300_000
    lines, summary = written.read(now=NOW + 60)
    (gap,) = summary.gaps
    assert (gap.about or 0) + len(lines) == 60_000
    assert len(lines) > 8_000, "what fits is kept"
    written.keep = Keep(size=bound // 2)
    written.again(NOW + 61)
    for batch in range(8):
        written.write(now=NOW + 61 + batch)
    written.file.close(NOW + 70)
    assert written.size() < bound // 2 + 50_000


def test_ids_are_never_given_twice(tmp_path: Path) -> None:
    """Even where everything was removed: whoever reads on `after` a line misses none."""
    written = Written(tmp_path / "x", Keep(seconds=600.0))
    written.write(*(met(number) for number in range(10)))
    _, summary = written.read(limit=10)
    later = NOW + 10_000
    written.write(now=later)
    written.again(later)
    written.write(met(77, stream_id="later"), now=later)
    assert names(written.read(now=later, after=summary.next)[0]) == ["later"]


# -------------------------------------------------------------------------------------------------------------------------- gaps
def test_the_first_start_misses_nothing(written: Written) -> None:
    written.write(met(1))
    assert written.read()[1].gaps == []


def test_a_kill_is_a_gap(tmp_path: Path) -> None:
    """From just before the last batch to the end of the next warm-up, at the rate before; said once, whatever is killed after that."""
    written = Written(tmp_path / "x", warm_up=2.0)
    written.write(met(1), now=NOW + 10, rate=100.0)
    written.again(NOW + 13)
    written.write(met(2), now=NOW + 14)
    (gap,) = written.read(now=NOW + 14)[1].gaps
    assert gap == Gap(Cause.KILLED, NOW + 10 - file_room.SLACK, NOW + 15, 550)
    assert "about 550 missing: the controller was killed" in gap.sentence()
    assert "(5.5 s)" in gap.sentence()
    written.again(NOW + 20)
    written.again(NOW + 30)
    written.write(now=NOW + 31)
    gaps = written.read(now=NOW + 31)[1].gaps
    assert [(one.cause, one.since - NOW, (one.until or 0) - NOW) for one in gaps] == [(Cause.KILLED, 9.5, 15.0), (Cause.KILLED, 13.5, 32.0)]


def test_a_stop_in_order_is_a_gap_too(written: Written) -> None:
    """Envoy has nobody to tell meanwhile; nothing before it is missing."""
    written.write(met(1), now=NOW + 10)
    written.file.close(NOW + 11)
    assert not Path(f"{written.path}-wal").exists(), "who copies the file alone has everything"
    (gap,) = written.read(now=NOW + 40)[1].gaps
    assert (gap.cause, gap.since, gap.until) == (Cause.STOPPED, NOW + 11, None)
    written.again(NOW + 31)
    written.write(now=NOW + 31)
    (gap,) = written.read(now=NOW + 31)[1].gaps
    assert (gap.cause, gap.since, gap.until, gap.about) == (Cause.STOPPED, NOW + 11, NOW + 31, 100)


def test_a_controller_that_is_dead_is_said_while_it_is(written: Written) -> None:
    """Up to now; a second without a batch is no reason."""
    written.write(met(1), rate=3.0)
    assert written.read(now=NOW + SILENT_AFTER)[1].gaps == []
    (gap,) = written.read(now=NOW + 20)[1].gaps
    assert (gap.cause, gap.since, gap.until, gap.about) == (Cause.SILENT, NOW, None, 60)
    assert written.read(now=NOW + 3 * GUESSED)[1].gaps[0].about is None
    assert guessed(2.0, GUESSED) == 120


def test_a_gap_that_goes_on_ends_with_its_controller(written: Written) -> None:
    """One that was open at a kill goes up to the kill's own."""
    blind = Gap(Cause.BLIND, NOW - 10, None, 50, "new", "of 100 decisions")
    written.write(gaps=(blind,))
    assert written.read()[1].gaps == [blind]
    assert "until now" in blind.sentence()
    written.write(gaps=(replace(blind, until=NOW + 5),), now=NOW + 5)
    assert written.read(now=NOW + 5)[1].gaps == [replace(blind, until=NOW + 5)]
    written.write(gaps=(replace(blind, since=NOW + 6),), now=NOW + 7)
    written.again(NOW + 9)
    written.write(now=NOW + 9)
    assert [gap.until for gap in written.read(now=NOW + 9)[1].gaps if gap.cause is Cause.BLIND] == [NOW + 5, NOW + 7]


def test_gaps_are_of_the_rollout_and_the_time(written: Written) -> None:
    """Those of others, and of other times, are not shown; an attempt has its own time."""
    gaps = (
        Gap(Cause.UNWRITTEN, NOW + 100, NOW + 110, 7),
        Gap(Cause.BLIND, NOW + 100, NOW + 110, 7, "other"),
        Gap(Cause.UNWRITTEN, NOW + 20_000, NOW + 20_010, 7),
    )
    attempts = [("new", 1, 1, NOW), ("new", 5, 2, NOW + 15_000)]
    written.write(met(1), gaps=gaps, attempts=attempts, now=NOW + 20_010)

    def shown(**wanted: Any) -> list[Gap]:
        return written.read(now=NOW + 20_010, **wanted)[1].gaps

    assert shown() == [gaps[0], gaps[2]]
    assert shown(attempt=1) == [gaps[0]]
    assert shown(attempt=2) == [gaps[2]]
    assert shown(since=NOW + 111) == [gaps[2]]
    assert shown(until=NOW + 200) == [gaps[0]]


@pytest.mark.parametrize("cause", list(Cause))
def test_every_gap_is_a_sentence(cause: Cause) -> None:
    said = Gap(cause, NOW, NOW + 1, 5, detail="why").sentence()
    assert said.startswith("from 2027-01-15T08:00:00.000Z until 2027-01-15T08:00:01.000Z (1.0 s): ")
    assert " 5 missing: " in f" {said}"
    assert said.endswith("(why)")
    assert "an unknown number missing" in Gap(cause, 0.0, NOW).sentence()


# -------------------------------------------------------------------------------------------------------------------- what fails
def test_a_file_that_is_locked(written: Written) -> None:
    """Nothing is written, nothing is lost; the same batch is written when it is free."""
    written.write(met(1))
    with closing(sqlite3.connect(written.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError) as caught:
            written.write(met(2))
        assert caught.value.problems[0].id == "exposures.busy"
        assert "decisions go on" in caught.value.problems[0].hint
        assert written.read()[1].requests == 1
    written.write(met(2))
    assert written.read()[1].requests == 2


def test_somebody_who_never_ends_reading(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log does not grow without end: writing stops, says why, and goes on when he has gone."""
    monkeypatch.setattr(file_room, "LONGEST_LOG", 300_000)
    monkeypatch.setattr(file_room, "WAIT", 0.05)
    written.write(met(1))
    with closing(sqlite3.connect(written.path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM exposures").fetchone()
        problem = ""
        while not problem:
            try:
                written.write(*(met(number) for number in range(100)))
            except StoreError as error:
                problem = error.problems[0].id
        assert problem == "exposures.held"
        assert Path(f"{written.path}-wal").stat().st_size < 500_000
    written.write(met(2))
    assert Path(f"{written.path}-wal").stat().st_size < 300_000


def test_a_damaged_file_is_put_aside(written: Written) -> None:
    """Never deleted; the list begins anew and says where the old one is."""
    written.write(*(met(number) for number in range(2000)))
    written.file.close(NOW)
    content = bytearray(written.path.read_bytes())
    content[4096:] = b"\x55" * (len(content) - 4096)
    written.path.write_bytes(content)
    written.again(NOW + 5)
    with pytest.raises(StoreError) as caught:
        written.write(met(1), now=NOW + 5)
    assert caught.value.problems[0].id == "exposures.damaged"
    written.write(met(1), now=NOW + 6)
    lines, summary = written.read(now=NOW + 6)
    (gap,) = summary.gaps
    assert (len(lines), gap.cause, gap.since) == (1, Cause.DAMAGED, 0.0)
    assert written.path.with_name(gap.detail).read_bytes()[4096:] == content[4096:]


def test_a_file_that_is_deleted_or_replaced(written: Written, tmp_path: Path) -> None:
    """The list goes on in what has the name; it says from when on."""
    written.write(met(1))
    written.path.unlink()
    written.write(met(2), now=NOW + 1)
    lines, summary = written.read(now=NOW + 1)
    assert ([line.unit[-1] for line in lines], summary.began) == (["2"], NOW + 1)
    other = Written(tmp_path / "other", started=NOW)
    other.write(met(5), now=NOW + 2)
    other.file.close(NOW + 2)
    other.path.rename(written.path)
    written.write(met(6), now=NOW + 9)
    lines, summary = written.read(now=NOW + 9)
    assert [line.unit[-1] for line in lines] == ["5", "6"]
    assert [(gap.cause, gap.since, gap.until) for gap in summary.gaps] == [(Cause.REPLACED, NOW + 2, NOW + 9)]


def test_a_file_of_another_version(written: Written) -> None:
    """Neither written nor read."""
    written.write(met(1))
    written.file.close(NOW)
    with closing(sqlite3.connect(written.path)) as db:
        db.execute("PRAGMA user_version=99")
    written.again(NOW)
    for use in (lambda: written.write(met(2)), written.read):
        with pytest.raises(StoreError) as caught:
            use()
        assert caught.value.problems[0].id == "exposures.schema"


def test_no_file(tmp_path: Path) -> None:
    """It is said, and none is made."""
    with pytest.raises(StoreError) as caught:
        Listing(tmp_path / "x", Wanted("new"), NOW)
    assert caught.value.problems[0].id == "exposures.none"
    assert not list(tmp_path.iterdir())


def test_only_the_owner_may_read_it(written: Written) -> None:
    written.write(met(1))
    assert written.path.stat().st_mode & 0o777 == 0o600
