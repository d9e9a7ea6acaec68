"""`extproc postmortem`: what was recorded comes out as it was recorded; what people wrote stays words; what no record knows is asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from extproc import contract
from extproc.cli import postmortem as command
from extproc.cli.write import filled_template
from extproc.domain import Action, Finding, JournalEntry, Prices, RolloutState, State, Status, Verdict
from extproc.errors import SettingsError, StoreError
from extproc.plan.markdown import prose
from extproc.plan.playbook.attempts import ending, of_attempt, visit_before
from extproc.plan.playbook.impact import MOST_ROWS, Cell, Impact, prices_of
from extproc.plan.playbook.postmortem import Incident, postmortem
from extproc.release import apply, human
from extproc.spec import load
from extproc.store import open_store
from extproc.store.exposures import Batch, Exposure, ExposureFile, Keep
from tests.support.outcomes import outcome
from tests.support.specs import PRICES, model, spec

T0 = 1_800_000_000.0
CHEAP, DEAR = Prices(Decimal(1), Decimal("0.5"), Decimal(2)), Prices(Decimal(10), Decimal(5), Decimal(20))


def entry(action: Action, generation: int, attempt: int, at: float = 0.0, **changes: Any) -> JournalEntry:
    numbers = {
        "attempt": attempt,
        "from": {"status": "progressing", "phase": "5%"},
        "to": {"status": "progressing", "phase": "25%"},
        "share": 0.25,
    }
    return replace(JournalEntry(generation, T0 + at, "new", "extproc", action, "because", generation, numbers), **changes)


def met(number: int, start: float, failed: bool = False, **changes: Any) -> Exposure:
    plain = Exposure(
        "new", 1, 2, "25%", "everyone", "canary", "ring", f"r{number}", f"{number:016x}", "", True, T0 + start, 0.5, True,
        500 if failed else 200, failed, False, False, "new", "new", None if failed else 1000, None if failed else 400,
        None if failed else 100, None,
    )  # fmt: skip
    return plain._replace(**changes)


def impact(lines: Sequence[Exposure], visit: int = 2) -> Impact:
    made = Impact({"new": CHEAP, "old": DEAR}, DEAR, visit)
    made.add(lines)
    return made


# ---------------------------------------------------------------------------------------------------------------------- attempts
def test_a_return_belongs_to_the_attempt_that_failed() -> None:
    """It says the number of the attempt that it begins; a start says its own."""
    lines = [
        entry(Action.ADOPT, 1, 1, numbers={"digest": "x"}),
        entry(Action.START, 2, 1),
        entry(Action.RETURN, 3, 2),
        entry(Action.RESUME, 4, 2),
        entry(Action.ROLL_BACK, 5, 2),
        entry(Action.START, 6, 3),
    ]
    assert [one.generation for one in of_attempt(lines, 1)[1]] == [1, 2, 3]
    assert [one.generation for one in of_attempt(lines, 2)[1]] == [4, 5]
    assert of_attempt(lines, None)[0] == 2
    assert of_attempt(lines[:2], None)[0] == 1
    assert of_attempt(lines, 7)[1] == ()


def test_which_line_ended_it_and_which_visit_that_was_about() -> None:
    """The rollback, else the last that took something back; a resume begins a visit only after an incident."""
    begun, out, back = entry(Action.START, 2, 1), entry(Action.ROLL_BACK_COHORT, 4, 1), entry(Action.ROLL_BACK, 6, 1)
    paused = entry(Action.RESUME, 5, 1, numbers={"attempt": 1, "from": {"status": "paused", "phase": "5%"}})
    assert ending([begun, out]) is out
    assert ending([begun, back, out]) is back
    assert ending([begun]) is None
    assert visit_before([begun, out, paused, back], back) == 4
    assert visit_before([begun, entry(Action.RESUME, 5, 1), back], back) == 5
    assert visit_before([begun], None) == 2


# ------------------------------------------------------------------------------------------------------------------------ impact
def test_requests_and_money_are_added_up() -> None:
    """A thousand tokens of which 400 came from a cache, and 100 written: 1,000 dollars in a million; what failed told no tokens."""
    lines = [met(1, 0.0), met(2, 1.0, failed=True), met(3, 2.0, generation=1, phase="5%", cohort="staff")]
    whole, parts = impact(lines), impact(lines[:1])
    parts.add(lines[1:])
    assert whole == parts
    assert whole.together() == Cell(3, 1, T0, T0 + 2.0, T0 + 1.5)
    assert whole.together(before=2).requests == 1
    assert whole.together(cohort="staff").requests == 1
    assert whole.of_visit().requests == 2
    assert list(whole.by(1)) == ["25%", "5%"]
    assert whole.priced == 2
    assert whole.spent == 2 * Decimal("0.001")
    assert whole.instead == 2 * Decimal("0.010")


def test_a_backend_of_another_price_is_paid_at_that() -> None:
    """Where stable answered in the canary's place, its price counts; without prices nothing is known."""
    assert impact([met(1, 0.0, answered_by="old")]).spent == Decimal("0.010")
    assert impact([met(1, 0.0, answered_by="elsewhere")]).priced == 0


def test_rows_of_growth_are_few_and_lose_nobody() -> None:
    """However long a visit was, up to what is shown."""
    for length in (1, 20, 100, 4000):
        rows = impact([met(number, float(number), failed=number % 2 == 0) for number in range(length)]).grown()
        assert len(rows) <= MOST_ROWS
        assert sum(row[1] for row in rows) == length
        assert sum(row[2] for row in rows) == (length + 1) // 2
    assert impact([]).grown() == []


# -------------------------------------------------------------------------------------------------------------------------- text
FOUND = Finding("errors", Verdict.FAIL, "errors: canary 50.00%", 0.5, (0.1, 0.9), 0.01, 120, 140, 0.5, 0.01, 9.0, -3.0, log_e_limit=3.0)


def incident(**changes: Any) -> Incident:
    given = spec(models={name: model(name, prices=PRICES[name]) for name in ("old", "new")})
    one = given.rollouts["new"]
    state = RolloutState(Status.PROGRESSING, 2, T0, 2, 1, "", "")
    decided = human(one, state, Action.ROLL_BACK, "it lies | <b>loud</b> `and` [often](x)\n# no heading")
    _, last = apply(State(2, "d", {"new": state}), one, replace(decided, findings=(FOUND,)), "mary*", T0 + 9.5)
    plain = Incident(
        given, one, replace(state, status=Status.ROLLED_BACK), 1, (entry(Action.START, 2, 1), last),
        impact([met(1, 5.0), met(2, 6.0, failed=True), met(3, 9.7, failed=True)]), 3, 0, 0, (), T0 + 60,
    )  # fmt: skip
    return replace(plain, **changes)


def test_times_and_counts_are_the_records() -> None:
    """Detection from the first failure's end to the decision, reaction from there to the last request; both to a tenth of a second."""
    text = postmortem(incident(), T0 + 100)
    assert "# Post-mortem: new, attempt 1" in text
    assert "3 requests of 3 users met `new`, and 2 of them failed" in text
    assert "3.0 s after the first failure" in text
    assert "0.2 s after the decision" in text
    assert "| errors | fail | 50.00% | 1.00% | 120 / 140 | 8103 of 20 | errors: canary 50.00% |" in text
    assert "1,000 (99.9% uptime of 1,000,000 requests); used: 0.20%" in text
    assert "What must be true before attempt 2" in text


def test_words_of_people_are_no_markup() -> None:
    """A reason cannot end a cell, begin a heading, or be a link or a tag; so cannot a name."""
    text = postmortem(incident(), T0 + 100)
    said = r"it lies \| \<b\>loud\</b\> \`and\` \[often\](x) \# no heading"
    assert text.count(said) == 2
    assert re.search(r"^# no heading", text, re.MULTILINE) is None
    assert r"mary\*" in text
    assert prose("a\x1b[31m\u202eb") == r"a \[31m b"


def test_gaps_and_unheard_ends_are_said() -> None:
    """What is not known has a section of its own, also where it is nothing."""
    assert "No gap is known" in postmortem(incident(), T0)
    text = postmortem(incident(gaps=("from a until b: 7 missing",), open=3, undecided=2), T0)
    assert "* from a until b: 7 missing." in text
    assert "Of 3 requests no end was heard of." in text
    assert "2 requests were answered by the canary without a decision" in text


def test_an_attempt_that_still_runs() -> None:
    """Nothing was taken back, and the text says so."""
    text = postmortem(incident(entries=(entry(Action.START, 2, 1),), state=RolloutState(Status.PAUSED, 1, T0, 2, 1, "", "")), T0)
    assert "Nothing of this attempt was taken back: it is paused." in text


def test_a_shadow_that_ended() -> None:
    """Nobody had met the canary, and the text says where it was."""
    back = entry(Action.ROLL_BACK, 3, 1, numbers={"attempt": 1, "from": {"status": "shadow", "phase": "1%"}})
    text = postmortem(incident(entries=(entry(Action.START, 2, 1), back), impact=impact([]), units=0), T0)
    assert "in its shadow, by extproc itself" in text
    assert "0 requests of 0 users met `new`" in text


def test_a_cohort_that_went_back_alone() -> None:
    """Its own last request counts, not that of others who go on."""
    out = entry(Action.ROLL_BACK_COHORT, 3, 1, at=9.5)
    out = replace(out, numbers={**out.numbers, "cohort": "germany"})
    seen = impact([met(1, 8.0, cohort="germany"), met(2, 8.5), met(3, 20.0, generation=3)])
    text = postmortem(incident(entries=(entry(Action.START, 2, 1), out), impact=seen), T0)
    assert "was taken from one cohort (germany)" in text
    assert "none after the decision (1.5 s before it)" in text
    assert "roll back cohort germany" in text


def test_prices_are_by_cluster() -> None:
    """A pool's backends all have the model's."""
    pool = spec(models={"new": model("new", "a", "b", prices=CHEAP), "old": model("old")})
    assert prices_of(pool) == {"a": CHEAP, "b": CHEAP}


# ----------------------------------------------------------------------------------------------------------------------- command
@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store with a Spec, an attempt that was rolled back, and a list of three requests."""
    text = filled_template("chat", "old", "new")
    given = load(text)
    one, url = given.rollouts["new"], f"sqlite:{tmp_path / 'x.db'}"
    state = State(0, given.digest, {"new": RolloutState(Status.PENDING, 0, T0, 0, 1, "", "")})
    with closing(open_store(url, writer=True)) as opened:
        opened.publish_spec(given.digest, text)
        for action, at in ((Action.START, 0.0), (Action.ROLL_BACK, 60.0)):
            decided = human(one, state.rollouts["new"], action, "by hand")
            before, (state, line) = state.generation, apply(state, one, decided, "mary", T0 + at)
            opened.commit(state, before, [line], {})
    list_of = ExposureFile(Path(contract.exposures_path(url)), Keep(), T0, 0.0)
    batch = Batch()
    batch.add([outcome(number, T0 + number, rollout="new", generation=1, failed=number == 2) for number in range(3)])
    list_of.write(batch.lines, (), (("new", 1, 1, T0),), T0 + 60, 5.0, T0 + 60)
    list_of._release()
    return url


def run(*words: str) -> str:
    app = typer.Typer()
    command.register(app)
    done = CliRunner().invoke(app, [*words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_reads_the_store(store: str, tmp_path: Path) -> None:
    """Journal, list and Spec; to standard output, or to a file."""
    said = run("new", "--store", store)
    assert "new was rolled back" in said
    assert "by mary: by hand" in said
    assert "3 requests of" in said
    assert "| requests that met the canary | 3 |" in said
    path = tmp_path / "p.md"
    assert run("new", "--store", store, "-o", str(path)).strip() == f"{path}: 2 lines of the Journal, 3 requests that met the canary"
    assert path.read_text().startswith("# Post-mortem: new, attempt 1")


def test_what_is_not_there_is_refused(store: str, tmp_path: Path) -> None:
    """An unknown rollout, an attempt that never was, a store that is none."""
    with pytest.raises(SettingsError, match="one of new"):
        run("old", "--store", store)
    with pytest.raises(SettingsError, match="has no attempt 4"):
        run("new", "--attempt", "4", "--store", store)
    with pytest.raises(StoreError):
        run("new", "--store", f"sqlite:{tmp_path / 'none.db'}")
