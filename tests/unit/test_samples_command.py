"""`extproc samples`, `label` and `forget`: what people see and do of what the judge has read."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from extproc.cli import samples
from extproc.cli.known import unit_hash
from extproc.domain import Answered, Arm, Feedback, FeedbackKind
from extproc.errors import SettingsError
from extproc.store import open_store
from extproc.store.exposures import Batch, ExposureFile
from extproc.store.exposures import Keep as Listed
from extproc.store.feedback import FeedbackFile, FeedbackLog
from extproc.store.feedback import Keep as Said
from extproc.store.samples import Kept, SampleFile, SampleReader
from tests.support.outcomes import outcome
from tests.support.samples import sample, scored

NOW = 1_000_100.0


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with a key, and two samples of each arm."""
    url = f"sqlite:{tmp_path / 'x.db'}"
    store = open_store(url, writer=True)
    unit = unit_hash(store.unit_key(), b"user-1")
    store.close()
    file = SampleFile(tmp_path / "x.db.samples", Kept())
    answers = (
        (Arm.CANARY, 0.2, "Somewhere far."),
        (Arm.CANARY, 0.6, "Very far."),
        (Arm.CONTROL, 0.9, "384,400 km."),
        (Arm.CONTROL, 0.8, "Far: 384,400 km."),
    )
    for number, (arm, value, answer) in enumerate(answers):
        file.add(sample(number, arm=arm, answer=answer, unit=unit if not number else "00000000000000bb"), NOW)
        file.score(scored(number, value, arm=arm, reason=f"reason {number}", unit=unit if not number else "00000000000000bb"))
    file.close()
    return url


def run(*words: str) -> str:
    app = typer.Typer()
    samples.register(app)
    done = CliRunner().invoke(app, [*words], env={"COLUMNS": "160"}, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_worst_answers_of_both_arms_stand_side_by_side(url: str) -> None:
    """The lowest first, with the judge's reasons."""
    shown = run("samples", "chat", "--worst", "-n", "1", "--store", url)
    assert "Somewhere far." in shown
    assert "Far: 384,400 km." in shown
    assert "score 0.20: reason 0" in shown
    assert "canary · everyone" in shown
    assert "control · everyone" in shown
    assert "Very far." not in shown


def test_the_latest_are_listed(url: str) -> None:
    """As many as are asked for."""
    shown = run("samples", "chat", "-n", "2", "--store", url)
    assert "384,400 km." in shown
    assert "Somewhere far." not in shown


def test_what_an_answer_says_is_shown_and_not_obeyed(url: str) -> None:
    """Marks of the terminal's own language, and control characters, are text."""
    path = Path(url.removeprefix("sqlite:") + ".samples")
    SampleFile(path, Kept()).add(sample(9, answer="[bold red]FAKE[/bold red] \x1b[2J", turns=(("user", "[link=x]y[/link]"),)), NOW)
    shown = run("samples", "chat", "-n", "1", "--store", url)
    assert "[bold red]FAKE[/bold red]" in shown
    assert "[link=x]y[/link]" in shown
    assert "\x1b[2J" not in shown


def test_nothing_sampled_is_said_with_what_to_do(url: str) -> None:
    """Another rollout, or no judge."""
    with pytest.raises(SettingsError, match="no sample of other is kept"):
        run("samples", "other", "--store", url)


def test_a_person_gives_a_level(url: str) -> None:
    """Of an answer that is there; another word of the same person takes its place."""
    assert "level 2" in run("label", "request-0", "2", "--who", "ann", "--store", url)
    run("label", "request-0", "4", "--who", "ann", "--store", url)
    file = SampleFile(Path(url.removeprefix("sqlite:") + ".samples"), Kept())
    assert file.labels() == [(4, 0.2)]
    with pytest.raises(SettingsError, match="no such sample"):
        run("label", "request-77", "4", "--store", url)


def test_a_person_is_forgotten_by_name(url: str) -> None:
    """The id is hashed as routers hash it; others stay, and so does the word that was given of them alone."""
    run("label", "request-0", "1", "--store", url)
    assert run("forget", "user-1", "--store", url).startswith("1 samples and 1 scores")
    path = Path(url.removeprefix("sqlite:") + ".samples")
    assert len(SampleReader(path).latest("chat", 10)) == 3
    assert SampleFile(path, Kept()).labels() == []
    assert run("forget", "user-1", "--store", url).startswith("0 samples and 0 scores")


def test_what_a_person_said_of_answers_is_forgotten_too(url: str) -> None:
    """By the hash of a token, and by the id of a request that met the canary: the list knows whose it was. Others' words stay."""
    path = Path(url.removeprefix("sqlite:"))
    store = open_store(url)
    unit = unit_hash(store.unit_key(), b"user-1")
    store.close()
    batch = Batch()
    batch.add([outcome(stream_id="theirs", unit=unit), outcome(stream_id="another", unit="00000000000000bb")])
    exposures = ExposureFile(path.with_name("x.db.exposures"), Listed(), NOW, 0.0)
    exposures.write(batch.lines, (), (), NOW, 1.0, NOW)
    exposures.close(NOW)
    signed = Answered("chat", 1, "everyone", Arm.CONTROL, unit, True, NOW)
    words = [("", signed), ("theirs", None), ("another", None)]
    file = FeedbackFile(path.with_name("x.db.feedback"), Said())
    file.write([Feedback("", FeedbackKind.THUMBS_DOWN, None, request, token, NOW, NOW) for request, token in words], NOW)
    assert "and 2 lines of feedback" in run("forget", "user-1", "--store", url)
    with closing(FeedbackLog(path.with_name("x.db.feedback"))) as log:
        assert [one.request_id for _, one in log.after(0, 10)] == ["another"]
    file.close()
