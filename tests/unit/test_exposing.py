"""Who counts as exposed, and the scribe that writes it beside the loop: late, refused, overrun, killed, and never waited for."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import median
from threading import Event
from typing import Any

import pytest

from extproc.controller import scribe as scribe_room
from extproc.controller.exposures import Exposures, canary_clusters
from extproc.controller.loop import CLOCK_SET, LONGEST_TICK
from extproc.controller.scribe import Scribe
from extproc.controller.sight import Blindness
from extproc.domain import Action, Arm, Backend, Reason, Undecided
from extproc.store.exposures import Cause, Exposure, ExposureFile, Gap, Keep, Listing, Summary, Wanted
from tests.support.outcomes import outcome
from tests.support.specs import model, rollout, spec
from tests.unit.test_loop import TEXT, World

MANUAL = TEXT.replace("stable: old", "start: manual\n    stable: old", 1)


class Exposing:
    """A loop and its exposures; the scribe writes when the test says so."""

    def __init__(self, path: Path) -> None:
        self.world = World(path, MANUAL)
        self.begin()

    def begin(self) -> None:
        self.exposures = Exposures(self.world.loop, Keep(), self.world.now)
        self.scribe = self.exposures._scribe

    def hear(self, *outcomes: Any, undecided: Any = ()) -> None:
        self.world.now += 0.1
        self.exposures.receive(outcomes, undecided, self.world.now)

    def flush(self) -> None:
        self.scribe._flush()

    def read(self, **wanted: Any) -> tuple[list[Exposure], Summary]:
        with closing(Listing(self.scribe.path, Wanted("new", **wanted), self.world.now)) as listing:
            lines = [line for page in listing.pages() for line in page]
            return lines, listing.summary

    def act(self, action: Action) -> int:
        self.world.now += 1.0
        return self.world.loop.act("new", action, "ann", "test", self.world.now).generation


@pytest.fixture
def exposing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exposing]:
    made = Exposing(tmp_path)
    # The file's own clock is this machine's; here it is the test's.
    monkeypatch.setattr(scribe_room.time, "time", lambda: made.world.now)
    yield made
    made.scribe._file._release()
    made.scribe._attempts.close()
    made.world.store.close()


# ------------------------------------------------------------------------------------------------------------------------ who counts
@pytest.mark.parametrize("reason", [Reason.RING, Reason.COMPLETED, Reason.PINNED, Reason.OVERRIDE, Reason.FORCED, Reason.NO_COHORT])
def test_whoever_was_assigned_to_the_canary_counts(exposing: Exposing, reason: Reason) -> None:
    """Whatever the reason, and whoever answered instead."""
    exposing.hear(outcome(1, reason=reason), outcome(2, reason=reason, answered_by="old"), outcome(3, canary=False, reason=reason))
    exposing.flush()
    lines, _ = exposing.read()
    assert [(line.unit[-1], line.reason, line.answered_by) for line in lines] == [("1", reason, "new"), ("2", reason, "old")]


def test_whoever_was_answered_by_the_canary_counts(exposing: Exposing) -> None:
    """Although assigned to stable; and without any decision, while the canary is exposed."""
    undecided = [Undecided("new", "m", False, 1, "lost", 5.0, 1.0, 200), Undecided("old", "m", False, 1, "stable", 5.0, 1.0, 200)]
    exposing.hear(undecided=undecided)
    generation = exposing.act(Action.START)
    exposing.hear(outcome(1, canary=False, answered_by="new"), outcome(2, canary=False), undecided=undecided)
    exposing.flush()
    lines, summary = exposing.read()
    assert [(line.request, line.arm, line.reason, line.generation) for line in lines] == [
        ("s1", "rest", "ring", 2),
        ("lost", "", "undecided", generation),
    ]
    assert summary.undecided == 1


def test_backends_that_stable_has_too_say_nothing() -> None:
    """Pools may share a cluster; variants of other layers have none."""

    def pool(name: str, *clusters: str) -> Any:
        return model(name, backends=tuple(Backend(cluster, 1.0, (), None) for cluster in clusters))

    given = spec(
        rollout("new"),
        rollout("prompt", layer="prompt", stable="a", canary="b"),
        models={"old": pool("old", "shared", "o"), "new": pool("new", "shared", "n1", "n2")},
    )
    assert canary_clusters(given) == {"new": frozenset({"n1", "n2"})}


def test_an_open_request_is_noted_once(exposing: Exposing) -> None:
    """Envoy tells of it each second; its end is told apart."""
    one = outcome(1, duration=5.0)
    for age in (1.0, 2.0, 3.0):
        exposing.hear(replace(one, final=False, duration=age))
    assert exposing.scribe.waiting == 1
    exposing.hear(one)
    assert exposing.scribe.waiting == 2
    exposing.flush()
    (line,), _ = exposing.read()
    assert line.seconds == 5.0
    assert not exposing.exposures._noted


def test_attempts_are_the_journals(exposing: Exposing) -> None:
    """An outcome names its generation; that of the first attempt stays the first one's, even if it comes after a retry."""
    first = exposing.act(Action.START)
    exposing.act(Action.ADVANCE)
    exposing.hear(outcome(1, generation=first))
    exposing.act(Action.ROLL_BACK)
    second = exposing.act(Action.START)
    third = exposing.act(Action.ADVANCE)
    exposing.hear(outcome(2, generation=third), outcome(3, generation=first), outcome(4, generation=second))
    exposing.flush()
    lines, _ = exposing.read()
    assert [line.attempt for line in lines] == [1, 2, 1, 2]
    assert [line.unit[-1] for line in exposing.read(attempt=1)[0]] == ["1", "3"]


def test_a_journal_that_cannot_be_read_holds_nothing_up(exposing: Exposing) -> None:
    """The exposures are written; the attempt is known as soon as it can be read."""
    generation = exposing.act(Action.START)
    store = Path(exposing.world.url.partition(":")[2])
    exposing.world.store.close()
    store.rename(store.with_name("away"))
    exposing.hear(outcome(1, generation=generation))
    exposing.flush()
    assert [line.attempt for line in exposing.read()[0]] == [None]
    store.with_name("away").rename(store)
    exposing.hear(outcome(2, generation=generation))
    exposing.flush()
    assert [line.attempt for line in exposing.read()[0]] == [1, 1]
    exposing.world.reopen(MANUAL)


# --------------------------------------------------------------------------------------------------------------------- what is missing
def test_blindness_is_a_gap_while_it_lasts(exposing: Exposing) -> None:
    """It begins with what was not heard of, grows while it lasts, and ends."""
    exposing.act(Action.START)
    exposing.exposures.tick(exposing.world.now, 1.0, 0)
    begin = exposing.world.now
    for _ in range(5):
        exposing.world.now += 1.0
        exposing.world.loop.blind = {"new": Blindness(100_000, 40_000, 10)}
        exposing.exposures.tick(exposing.world.now, 1.0, 0)
    exposing.flush()
    (gap,) = exposing.read()[1].gaps
    assert (gap.cause, gap.since, gap.until, gap.rollout) == (Cause.BLIND, begin + 1 - 13, None, "new")
    share = exposing.world.loop.spec.rollouts["new"].phases[0].share
    assert gap.about == round(60_000 * share) + 4 * round(6_000 * share), "the canary's share of what is missing"
    assert "only 40,000 were heard of" in gap.sentence()
    exposing.world.loop.blind = {}
    exposing.world.now += 1.0
    exposing.exposures.tick(exposing.world.now, 1.0, 0)
    exposing.flush()
    (gap,) = exposing.read()[1].gaps
    assert gap.until == exposing.world.now


def test_a_stand_still_and_messages_that_cannot_be_read_are_gaps(exposing: Exposing) -> None:
    """Nobody can say how many; nothing is said of a second that was like others."""
    for elapsed, bad in ((1.0, 0), (1.0, 0), (LONGEST_TICK, 0), (1.0, 2), (1.0, 2)):
        exposing.world.now += elapsed
        exposing.exposures.tick(exposing.world.now, elapsed, bad)
    exposing.flush()
    now = exposing.world.now
    assert exposing.read()[1].gaps == [
        Gap(Cause.STALLED, now - 2 - LONGEST_TICK, now - 2),
        Gap(Cause.UNREAD, now - 2, now - 1),
    ]


def test_a_clock_that_was_set_is_a_gap(exposing: Exposing) -> None:
    """Instants around it cannot be relied on."""
    exposing.exposures.tick(exposing.world.now, 1.0, 0)
    exposing.world.now += 1.0 + CLOCK_SET + 0.5
    exposing.exposures.tick(exposing.world.now, 1.0, 0)
    exposing.flush()
    assert [gap.cause for gap in exposing.read()[1].gaps] == [Cause.STALLED]


def test_what_flutters_is_one_gap(exposing: Exposing) -> None:
    """Gaps of one cause close together are told as one, far apart as two."""
    scribe = exposing.scribe
    for second in (0, 4, 8):
        scribe.say(Gap(Cause.UNREAD, 1000.0 + second, 1001.0 + second, 5))
        exposing.flush()
    scribe.say(Gap(Cause.UNREAD, 1050.0, 1051.0, 7))
    exposing.flush()
    assert exposing.read()[1].gaps == [Gap(Cause.UNREAD, 1000.0, 1009.0, 15), Gap(Cause.UNREAD, 1050.0, 1051.0, 7)]


# ---------------------------------------------------------------------------------------------------------------------------- refused
def test_a_locked_file_costs_memory_first_and_then_exposures(exposing: Exposing, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fits is kept and written later; what does not is counted exactly, with the time and the cause; nobody has waited."""
    monkeypatch.setattr(scribe_room, "MOST_WAITING", 100)
    monkeypatch.setattr(scribe_room, "IN_BATCH", 30)
    exposing.flush()
    with closing(sqlite3.connect(exposing.scribe.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        took = []
        for number in range(15):
            began = time.perf_counter()
            exposing.hear(*(outcome(number * 10 + place, start=1000.0 + number, duration=0.5) for place in range(10)))
            took.append(time.perf_counter() - began)
            if number in (8, 14):
                exposing.flush()
        assert median(took) < 0.05, took
        assert (exposing.scribe.waiting, exposing.scribe.lost, exposing.scribe.written) == (100, 50, 0)
        assert exposing.exposures.document()["problem"] is not None
        assert exposing.scribe.failures == 2
    exposing.flush()
    lines, summary = exposing.read()
    assert sorted(int(line.request[1:]) for line in lines) == list(range(100))
    (gap,) = summary.gaps
    assert (gap.cause, gap.since, gap.until, gap.about) == (Cause.UNWRITTEN, 1010.5, 1014.5, 50)
    assert "50 missing: the file could not be written" in gap.sentence()
    assert "locked" in gap.detail
    assert (exposing.scribe.waiting, exposing.scribe.written, exposing.scribe.problem) == (0, 100, None)
    text = exposing.exposures.exposition().decode()
    assert "extproc_exposures_written_total 100.0" in text
    assert "extproc_exposures_lost_total 50.0" in text
    assert "extproc_exposures_waiting 0.0" in text


def test_a_defect_costs_its_batch_and_not_the_list(exposing: Exposing, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is logged, counted, and a gap; the next batch is written."""
    exposing.flush()

    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as context:
        context.setattr(ExposureFile, "write", broken)
        exposing.hear(outcome(1), outcome(2))
        exposing.flush()
    exposing.hear(outcome(3))
    exposing.flush()
    lines, summary = exposing.read()
    assert [line.request for line in lines] == ["s3"]
    assert [(gap.cause, gap.about) for gap in summary.gaps] == [(Cause.UNWRITTEN, 2)]
    assert (exposing.scribe.lost, exposing.scribe.waiting) == (2, 0)


def test_what_was_heard_after_is_not_promised(exposing: Exposing) -> None:
    """A kill right after a batch loses what came since; the gap begins before it."""
    exposing.hear(outcome(1, start=exposing.world.now - 0.2))
    exposing.flush()
    exposing.hear(outcome(2, start=exposing.world.now - 0.2))
    lost_at = exposing.world.now
    exposing.scribe._file._release()
    exposing.world.now += 1.0
    exposing.begin()
    exposing.flush()
    lines, summary = exposing.read()
    (gap,) = summary.gaps
    assert [line.request for line in lines] == ["s1"]
    assert gap.cause is Cause.KILLED
    assert gap.until is not None
    assert gap.since < lost_at < gap.until


def test_a_thread_that_hangs_does_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that does not answer: the process ends without it."""
    scribe = Scribe(f"sqlite:{tmp_path / 'x.db'}", Keep(), time.time(), 0.0)
    answers = Event()
    monkeypatch.setattr(ExposureFile, "write", lambda *_: answers.wait(150.0))
    scribe.start()
    began = time.monotonic()
    assert not scribe.stop(0.1)
    assert time.monotonic() - began < 60.0
    answers.set()
    scribe._thread.join()


def test_it_writes_each_second_and_at_the_end(tmp_path: Path) -> None:
    """In a thread of its own; closed in order, nothing is missing."""
    scribe = Scribe(f"sqlite:{tmp_path / 'x.db'}", Keep(), time.time(), 0.0)
    scribe.start()
    scribe.hand([outcome(1)])
    deadline = time.monotonic() + 60.0
    while not scribe.written:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    scribe.hand([outcome(2), outcome(3, rollout="other", arm=Arm.CANARY)])
    assert scribe.stop(60.0)
    with closing(Listing(scribe.path, Wanted("new"), time.time())) as listing:
        assert sum(map(len, listing.pages())) == 2
        assert [gap.cause for gap in listing.summary.gaps] == [Cause.STOPPED], "from now on"


# ------------------------------------------------------------------------------------------------------------------------------ speed
def test_5000_exposures_a_second_on_half_a_core(exposing: Exposing) -> None:
    """All of it together, from the collector's outcomes to the disk: less than a quarter of what half a core has (100 us each)."""
    batches = [
        [outcome(second * 5000 + number, stream_id=f"7a0c1b9e-4a52-4d53-9f0e-{second * 5000 + number:012x}") for number in range(5000)]
        for second in range(6)
    ]
    exposing.flush()
    hearing, whole = [], []
    for batch in batches:
        began = time.process_time()
        exposing.hear(*batch)
        hearing.append((time.process_time() - began) / 5000)
        exposing.flush()
        whole.append((time.process_time() - began) / 5000)
    # What a hypervisor takes is counted as ours, but not in most seconds.
    each, heard = median(whole), median(hearing)
    assert exposing.scribe.written == 30_000
    print(f"{each * 1e6:.1f} us an exposure, {heard * 1e6:.2f} us of it on the loop's thread")
    assert each < 50e-6
    assert heard < 3e-6
