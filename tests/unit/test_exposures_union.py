"""Several lists of exposures as one: every line once, in the order of time; what nobody heard is said; whose list is missing is said."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from extproc.cli import lists
from extproc.controller.candidate import api_of
from extproc.controller.doors import Doors
from extproc.controller.loop import WARM_UP
from extproc.controller.settings import ControllerSettings
from extproc.domain import Reason
from extproc.errors import ExtprocError, SettingsError, StoreError
from extproc.store import Led, Term, who_led
from extproc.store.exposures import Batch, Cause, Exposure, ExposureFile, Gap, Keep, Listing, Summary, Told, Union, Wanted
from extproc.store.exposures.elsewhere import begins_late, not_here, others
from extproc.store.exposures.file import SLACK
from extproc.store.exposures.holes import SETTLES, gaps_of_all, missed
from extproc.store.exposures.lines import as_jsonl, as_last_line
from extproc.store.terms import MOST_TERMS, read_terms, with_term, write_terms
from extproc.transport import Security
from tests.support.outcomes import outcome
from tests.unit.test_exposure_lists import APP

NOW = 1_800_000_000.0
NOW_TEXT = "2027-01-15T08:00:00Z"
ALL = Wanted("new")


def line(number: int, ended: bool = True, **changes: Any) -> Exposure:
    """One that began `number` milliseconds after NOW."""
    known: dict[str, Any] = {"status": 200} if ended else {"status": None}
    plain = Exposure(
        "new", 1, 2, "5%", "everyone", "canary", "ring", f"r{number}", f"{number % 7:016x}", "", True, NOW + number / 1000,
        0.25 if ended else None, ended, known["status"], False, False, False, "new", "m", 10, None, 20, None,
    )  # fmt: skip
    return plain._replace(**changes)


@dataclass
class Listed:
    """A list that is there."""

    lines: Sequence[Exposure]
    summary: Summary = field(default_factory=lambda: Summary("new", began=NOW, as_of=NOW + 100.0))

    def pages(self) -> Iterator[list[Exposure]]:
        yield from ([one] for one in self.lines)


def together(*parts: Listed | Told, wanted: Wanted = ALL, now: float = NOW + 100.0) -> tuple[list[Exposure], Summary]:
    with tempfile.TemporaryDirectory() as directory, closing(Union(Path(directory) / "x")) as union:
        for part in parts:
            union.add(part)
        with closing(union.listing(wanted, now)) as listing:
            return [one for page in listing.pages() for one in page], listing.summary


# ------------------------------------------------------------------------------------------------------------------------- lines
@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.sets(st.integers(0, 2), min_size=1), st.sets(st.integers(0, 2)))), st.randoms())
def test_every_line_is_there_once_and_in_the_order_of_time(ledger: list[tuple[int, set[int], set[int]]], random: Any) -> None:
    """Whoever has heard of a request, how often, and in what order: an end that anybody has heard of is what counts."""
    lists: list[list[Exposure]] = [[], [], []]
    ended, met = set(), set()
    for number, open_in, ended_in in ledger:
        met.add(number)
        for place in open_in:
            lists[place].append(line(number, ended=False))
        for place in ended_in:
            lists[place].append(line(number))
            ended.add(number)
    for one in lists:
        random.shuffle(one)
    found, summary = together(*map(Listed, lists))
    assert found == [line(number, ended=number in ended) for number in sorted(met)]
    assert (summary.requests, summary.open, summary.units) == (len(met), len(met - ended), len({number % 7 for number in met}))


def test_two_that_differ_are_two() -> None:
    """A client may give one id to several requests, and nobody who was affected may be dropped: only what is equal in all is one."""
    several = [line(1), line(1, status=500, failed=True), line(1, seconds=0.5), line(1, start=NOW + 5.0), line(1, model="other")]
    several += [line(1, unit="0" * 16), line(1, unit="")]
    found, summary = together(Listed(several), Listed(several[::-1]))
    assert len(found) == summary.requests == 7
    assert set(found) == set(several)


def test_what_cannot_be_packed_comes_back_as_it_was(tmp_path: Path) -> None:
    """Ids that are no UUID, no unit, no attempt, an unknown status; over JSON and the file."""
    odd = [
        line(1, request="7a0c1b9e-4a52-4d53-9f0e-0123456789ab"),
        line(2, request='it\'s "odd"', unit="somebody", attempt=1),
        line(3, unit="", reason="undecided", cohort="", arm="", durable=False),
        line(4, status=None, input_tokens=None, output_tokens=None),
        line(5, start=NOW + 0.123457, seconds=12.345678),
    ]
    text = as_jsonl(odd, ids=False) + as_last_line(Summary("new", began=NOW, as_of=NOW + 100.0, owners=("one",), rate=2.5))
    told = Told("a file", text.splitlines(), ALL)
    assert [one for page in told.pages() for one in page] == odd
    assert (told.summary.owners, told.summary.rate) == (("one",), 2.5)
    assert set(together(Told("a file", text.splitlines(), ALL))[0]) == set(odd)


def test_a_part_is_narrowed_to_what_is_wanted() -> None:
    """A file is a whole list, whatever is asked of it here."""
    lines = [
        line(1),
        line(2, failed=True, status=500),
        line(3, phase="25%"),
        line(4, attempt=2),
        line(5, cohort="staff"),
        line(6, rollout="b"),
    ]
    text = (as_jsonl(lines, ids=False) + as_last_line(Summary("new"))).splitlines()

    def numbers(**asked: Any) -> list[str]:
        return [one.request for page in Told("it", text, replace(ALL, **asked)).pages() for one in page]

    assert numbers() == ["r1", "r2", "r3", "r4", "r5"]
    assert numbers(failed=True) == ["r2"]
    assert numbers(phase="25%") == ["r3"]
    assert numbers(attempt=2) == ["r4"]
    assert numbers(cohort="staff") == ["r5"]
    assert numbers(since=NOW + 0.004) == ["r4", "r5"]
    assert numbers(until=NOW + 0.002) == ["r1"]


@pytest.mark.parametrize(
    ("text", "id"),
    [
        (as_jsonl([line(1)], ids=False), "exposures.cut"),
        ("", "exposures.cut"),
        ("{}\n", "exposures.part"),
        ("[1]\n", "exposures.part"),
        ("request,unit\n", "exposures.part"),
        (as_last_line(Summary("other")), "exposures.part"),
        ('{"problems": [{"id": "exposures.busy", "path": "/", "message": "2 lists are being read", "hint": "later"}]}', "exposures.busy"),
    ],
)
def test_what_is_no_list_or_half_of_one_is_refused(text: str, id: str) -> None:
    """Half a list must not pass for a whole one."""
    with pytest.raises(ExtprocError) as caught:
        together(Told("it", text.splitlines(), ALL))
    assert caught.value.problems[0].id == id


# -------------------------------------------------------------------------------------------------------------------------- gaps
def heard(began: float, *gaps: Gap, as_of: float = 0.0, name: str = "", rate: float = 2.0) -> Summary:
    """A list that began so many seconds after NOW; gaps likewise."""
    moved = [replace(gap, since=NOW + gap.since, until=None if gap.until is None else NOW + gap.until) for gap in gaps]
    return Summary("new", began=NOW + began, as_of=NOW + as_of, gaps=moved, owners=(name,) if name else (), rate=rate)


def spans(*lists: Summary, now: float) -> list[tuple[Cause, float, float | None]]:
    """Seconds after NOW."""
    return [(gap.cause, gap.since - NOW, None if gap.until is None else gap.until - NOW) for gap in gaps_of_all(lists, NOW + now)]


def test_what_another_controller_heard_is_no_gap() -> None:
    """One is dead from 100 on, two leads from 105: five seconds and what its Envoys took to find it are missing, and nothing else."""
    one = heard(0, Gap(Cause.SILENT, 100.0, None), as_of=100.0, name="one")
    two = heard(105, as_of=200.0, name="two")
    assert spans(one, two, now=200.0) == [(Cause.KILLED, 100.0 - SLACK, 105.0 + SETTLES)]
    (gap,) = gaps_of_all([one, two], NOW + 200.0)
    assert gap.about == round(2.0 * (5.0 + SLACK + SETTLES))
    assert "one" in gap.sentence()
    assert "killed" in gap.sentence()
    assert spans(one, now=200.0) == [(Cause.SILENT, 100.0 - SLACK, None)]
    assert spans(two, now=200.0) == []
    assert SETTLES == WARM_UP


def test_a_leader_that_has_just_died_is_dead() -> None:
    """Not yet silent for long enough to be called so; but another controller's list goes on, so this one's has ended."""
    one, two = heard(0, as_of=100.0, name="one"), heard(102, as_of=104.0, name="two")
    assert spans(one, two, now=104.0) == [(Cause.KILLED, 100.0 - SLACK, 102.0 + SETTLES)]


def test_it_leads_again() -> None:
    """One, two, one: each one's time of standing by is in the other one's list."""
    one = heard(0, Gap(Cause.KILLED, 100.0, 152.0), as_of=300.0, name="one")
    two = heard(105, Gap(Cause.STOPPED, 150.0, None), as_of=150.0, name="two")
    assert spans(one, two, now=300.0) == [(Cause.KILLED, 100.0, 107.0), (Cause.STOPPED, 150.0, 152.0)]


def test_what_was_lost_by_its_hearer_is_lost() -> None:
    """A full disk, entries that did not arrive, what was removed for room: another controller's list does not have it."""
    lost = Gap(Cause.UNWRITTEN, 10.0, 20.0, 7), Gap(Cause.BLIND, 30.0, 40.0, 5, "new"), Gap(Cause.REMOVED, -NOW, 5.0, 100)
    both = heard(0, *lost, as_of=50.0, name="one"), heard(0, as_of=50.0, name="two")
    assert [cause for cause, *_ in spans(*both, now=50.0)] == [Cause.REMOVED, Cause.UNWRITTEN, Cause.BLIND]


def test_a_list_that_was_taken_earlier_knows_nothing_of_later() -> None:
    """A part of an hour ago, of a controller that leads: from then on nobody heard."""
    assert spans(heard(0, as_of=100.0, name="one"), now=3700.0) == [(Cause.SILENT, 100.0 - SLACK, None)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(5, 50), st.integers(0, 30), st.booleans()), min_size=1, max_size=8))
def test_gaps_of_all_are_the_time_in_which_nobody_led(terms: list[tuple[int, int, int, bool]]) -> None:
    """Any number of leaders one after the other, each killed or stopped after a while, some time without one in between."""
    names, now = ("one", "two", "three"), 0.0
    led: list[tuple[int, float, float, bool]] = []
    for who, lasted, pause, killed in terms:
        led.append((who, now, now + lasted, killed))
        now += lasted + pause
    lists = []
    for who, name in enumerate(names):
        mine = [one for one in led if one[0] == who]
        gaps = []
        for place, (_, _, end, killed) in enumerate(mine):
            again = mine[place + 1][1] + SETTLES if place + 1 < len(mine) else None
            cause = (Cause.SILENT if again is None else Cause.KILLED) if killed else Cause.STOPPED
            gaps.append(Gap(cause, end - SLACK if cause is Cause.KILLED else end, again))
        if mine:
            lists.append(heard(mine[0][1], *gaps, as_of=mine[-1][2], name=name))
    found = spans(*lists, now=now + 100.0)
    assert all(until is not None for _, _, until in found[:-1])
    assert found[-1][2] is None
    for tenths in range(0, int(now + 50) * 10, 3):
        at = tenths / 10 + 0.05
        led_then = any(
            since + (SETTLES if place else 0.0) <= at < until - (SLACK if killed else 0.0)
            for place, (_, since, until, killed) in enumerate(led)
        )
        missing = any(since <= at < (until if until is not None else float("inf")) for _, since, until in found)
        assert missing != led_then, at


# ---------------------------------------------------------------------------------------------------------------- who led, and where
def test_terms_are_who_led_from_when() -> None:
    """One that leads twice in a row has one term; the newest are kept; a stretch of time has whoever led in it."""
    terms: tuple[Term, ...] = ()
    for name, since in (("one", 0.0), ("one", 5.0), ("two", 10.0), ("one", 20.0), ("three", 30.0)):
        terms = with_term(terms, Term(name, since))
    assert [(one.name, one.since) for one in terms] == [("one", 0.0), ("two", 10.0), ("one", 20.0), ("three", 30.0)]
    assert read_terms(write_terms(terms)) == terms
    assert read_terms(None) == ()
    assert who_led(terms, 0.0, 100.0) == (Led("one", 0.0, 30.0, ""), Led("two", 10.0, 20.0, ""), Led("three", 30.0, None, ""))
    assert [one.name for one in who_led(terms, 12.0, 18.0)] == ["two"]
    for number in range(MOST_TERMS + 5):
        terms = with_term(terms, Term(f"c{number}", 100.0 + number))
    assert (len(terms), terms[-1].name) == (MOST_TERMS, f"c{MOST_TERMS + 4}")


@pytest.mark.parametrize(
    ("listens", "advertise", "certificate", "reached"),
    [
        ("", "one:9001", "", ""),
        ("0.0.0.0:9444", "one.internal:9001", "c.pem", "https://one.internal:9444"),
        ("[::]:9444", "", "c.pem", "https://me:9444"),
        ("10.0.0.7:9444", "one:9001", "c.pem", "https://10.0.0.7:9444"),
        ("127.0.0.1:9444", "unix:/run/c.sock", "", "http://127.0.0.1:9444"),
        ("0.0.0.0:9444", "unix:/run/c.sock", "c.pem", "https://me:9444"),
    ],
)
def test_where_an_api_is_reached(listens: str, advertise: str, certificate: str, reached: str) -> None:
    """What the store tells others; nothing where it is on its own machine alone."""
    doors = Doors(Security(certificate=certificate, key=certificate), listens)
    assert api_of(ControllerSettings("r.yaml", doors=doors, name="me", advertise=advertise)) == reached


def test_what_is_missing_is_said_with_the_commands_that_add_it() -> None:
    """From when to when, why, and what to type where; a list that begins after its controller had led is another one."""
    led = Led("two", NOW, NOW + 60.0, "")
    said = not_here(led, ALL, "etcd://e:2379/x?local=/a", "it is away")
    assert "two led from 2027-01-15T08:00:00Z until 2027-01-15T08:01:00Z" in said
    assert "On two: extproc exposures new --store 'etcd://e:2379/x?local=/a' --part -o two.part;" in said
    assert said.endswith("here: extproc exposures new --store 'etcd://e:2379/x?local=/a' --from two.part")
    assert others([led, replace(led, name="one")], ("one",)) == [led]
    assert missed([heard(0, name="two")], "two", NOW, NOW + 60.0) is None
    assert missed([heard(600, name="two"), heard(0, name="one")], "two", NOW, NOW + 900.0) == (NOW, NOW + 600.0)
    assert "begins 2027-01-15T08:10:00Z" in begins_late(led, NOW + 600.0)


# --------------------------------------------------------------------------------------------------------------------- the command
@dataclass
class Machine:
    """A store with a list of its own."""

    directory: Path
    name: str
    numbers: range
    now: float

    def __post_init__(self) -> None:
        self.directory.mkdir()
        self.store = f"sqlite:{self.directory / 'extproc.db'}"
        now = self.now
        self.file = ExposureFile(self.directory / "extproc.db.exposures", Keep(), now, owner=self.name)
        batch = Batch()
        batch.add(outcome(number, now - 50.0 + number, reason=Reason.RING, failed=number == 3) for number in self.numbers)
        self.file.write(batch.lines, (), (("new", 2, 1, now),), now, 1.0, now)

    def run(self, *words: str | Path) -> Any:
        return CliRunner().invoke(APP, ["exposures", "new", "--store", self.store, "--format", "jsonl", *map(str, words)])


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> tuple[Machine, Machine]:
    directory = tmp_path_factory.mktemp("machines")
    now = time.time()
    made = Machine(directory / "one", "one", range(6), now), Machine(directory / "two", "two", range(4, 10), now)
    for one in made:
        one.file._release()
    return made


def test_a_part_a_file_and_a_directory_give_the_same(machines: tuple[Machine, Machine], tmp_path: Path) -> None:
    """Each request once, with whose lists they are; filters and distinct units are of all of them."""
    one, two = machines
    part = tmp_path / "one.part"
    assert one.run("--part", "-o", part).exit_code == 0
    texts = []
    for source in (part, one.directory, one.directory / "extproc.db.exposures"):
        done = two.run("--from", source)
        assert done.exit_code == 0, done.output
        assert "new: 10 requests met the canary: 10 units, 1 failed" in done.stderr
        assert f"put together from 2 lists: this machine (two), {source}" in done.stderr
        texts.append(done.stdout)
    assert texts[0] == texts[1] == texts[2]
    assert len(two.run("--from", part, "--failed").stdout.splitlines()) == 1
    assert len(two.run("--from", part, "--units").stdout.splitlines()) == 10
    ids = tmp_path / "ids"
    ids.write_text("nobody\n")
    assert two.run("--from", part, "--ids", ids, "--known").exception is not None, "this store has no key yet"


def test_a_source_that_is_away_is_said_and_one_that_is_none_is_refused(
    machines: tuple[Machine, Machine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An API may be down at 3 a.m., and what there is is worth having; a name that was mistyped is a mistake."""
    two = machines[1]
    done = two.run("--from", "http://127.0.0.1:1")
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 6
    assert "PARTIAL http://127.0.0.1:1 could not be asked: nothing to show" in done.stderr
    monkeypatch.setenv("EXTPROC_TOKEN", "x")
    assert "PARTIAL http://127.0.0.1:1 could not be asked" in (said := two.run("--from", "http://127.0.0.1:1").stderr)
    assert "no gap is known" not in said
    for words, id in (
        (("--from", tmp_path / "none"), "settings.from"),
        (("--from", tmp_path), "settings.from"),
        (("--part", "--failed"), "settings.part"),
        (("--part", "--from", tmp_path), "settings.part"),
    ):
        error = two.run(*words).exception
        assert isinstance(error, SettingsError)
        assert error.problems[0].id == id
    with pytest.raises(StoreError, match="could not be asked"), _nowhere(tmp_path, two):
        pass


def _nowhere(tmp_path: Path, machine: Machine) -> Any:
    """A machine that has no list, and asks one that is away: nothing at all could be read."""
    return lists.affected(f"sqlite:{tmp_path / 'no.db'}", ALL, ("http://127.0.0.1:1",), None, time.time())


def test_who_led_is_asked_by_itself_where_nobody_reads_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store says where; a token goes over TLS or stays on the machine, and each one that has no list here is a line of its own."""
    monkeypatch.setenv("EXTPROC_TOKEN", "x")
    gathered = lists._Gathered(tmp_path, "etcd://e/x", ALL, None, NOW + 50.0)
    gathered.add("this machine", Listed([line(1)], heard(600, name="late")))
    apis = {"alone": "", "clear": "http://10.255.255.1:9", "away": "http://127.0.0.1:1", "late": ""}
    gathered.ask(Led(name, NOW, NOW + 900.0, api) for name, api in apis.items())
    gathered.union.close()
    said = [one.replace(NOW_TEXT, "then") for one in gathered.partial]
    assert [one.partition(" led from then")[0] for one in said] == list(apis)
    assert "its API is on its own machine alone" in said[0]
    assert "speaks without TLS, so it is asked only where it is named: --from http://10.255.255.1:9" in said[1]
    assert "(http://127.0.0.1:1: " in said[2]
    assert "the list that is there begins" in said[3]
    assert gathered.asked == ["this machine (late)"]


def test_a_file_of_before_has_no_owner(tmp_path: Path) -> None:
    """A list of an earlier version is read as it is, and gets its controller's name when that writes on."""
    path = tmp_path / "x.exposures"
    file = ExposureFile(path, Keep(), NOW)
    file.write((), (), (), NOW, 1.0, NOW)
    assert file._opened is not None
    file._opened.db.execute("DROP TABLE owners")
    file._release()
    with closing(Listing(path, ALL, NOW)) as listing:
        assert listing.owners() == ()
    again = ExposureFile(path, Keep(), NOW, owner="one")
    again.write((), (), (), NOW, 1.0, NOW)
    with closing(Listing(path, ALL, NOW)) as listing:
        assert listing.owners() == ("one",)
    again._release()
