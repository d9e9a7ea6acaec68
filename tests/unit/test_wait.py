"""`extproc wait`: when it ends and how, by what it sees; its own words. The command itself runs in tests/integration/test_pipeline.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from extproc.cli import wait
from extproc.cli.awaited import CODES, Ended, ended, goal, last_words, progress, seen
from extproc.domain import Status
from extproc.errors import ExtprocError, SettingsError

PHASES = ("1%", "25%", "100%")


def document(status: str, index: int = 0, page: bool = False) -> dict[str, Any]:
    """A status document with as much as the wait reads."""
    rollout = {
        "status": status,
        "phase": PHASES[index],
        "phase_index": index,
        "phases": [{"name": name, "share": 0.1} for name in PHASES],
        "why": "ann: because",
        "now": "needs 12 more distinct canary units",
        "page": page,
    }
    return {"rollouts": {"new": rollout}, "stale": 0.0}


@pytest.mark.parametrize(
    ("status", "index", "until", "how"),
    [
        ("pending", 0, "1%", None),
        ("shadow", 0, "1%", None),
        ("progressing", 0, "1%", Ended.REACHED),
        ("paused", 0, "1%", Ended.REACHED),
        ("progressing", 0, "25%", None),
        ("progressing", 2, "25%", Ended.REACHED),
        ("progressing", 2, "completed", None),
        ("completed", 2, "completed", Ended.REACHED),
        ("completed", 2, "25%", Ended.REACHED),
        ("rolled_back", 1, "25%", Ended.ROLLED_BACK),
        ("awaiting_approval", 1, "awaiting_approval", Ended.REACHED),
        ("progressing", 1, "awaiting_approval", None),
        ("awaiting_approval", 1, "100%", None),
    ],
)
def test_a_phase_is_reached_when_it_is_entered(status: str, index: int, until: str, how: Ended | None) -> None:
    """Or one beyond it; a rolled-back rollout has reached nothing, whatever its phase was."""
    assert ended(seen(document(status, index), "new"), until, stops_when_asked=False) is how


@pytest.mark.parametrize(
    ("status", "page", "needs"),
    [
        ("paused", False, True),
        ("awaiting_approval", False, True),
        ("progressing", True, True),
        ("progressing", False, False),
        ("pending", True, False),
    ],
)
def test_a_person_is_needed_where_it_does_not_go_on_by_itself(status: str, page: bool, needs: bool) -> None:
    """Paused, asked, or held with a page; at once where that is wanted."""
    one = seen(document(status, 1, page), "new")
    assert one.needs_person is needs
    assert ended(one, "100%", stops_when_asked=True) is (Ended.PERSON if needs else None)


def test_what_is_not_there_is_a_problem() -> None:
    """With what there is."""
    with pytest.raises(ExtprocError, match="there are: new"):
        seen(document("pending"), "old")
    with pytest.raises(ExtprocError, match="one of 1%, 25%, 100%, completed, awaiting_approval"):
        goal("50%", PHASES)


@pytest.mark.parametrize("how", list(Ended))
def test_the_last_words_are_one_line_and_every_code_is_explained(how: Ended) -> None:
    """With the reason, and in the help the number."""
    said = last_words(seen(document("rolled_back" if how is Ended.ROLLED_BACK else "progressing", 1), "new"), how, "25%", 61.0)
    assert said.startswith("new ")
    assert "\n" not in said
    assert f"{int(how)} " in CODES


def test_progress_marks_the_present_phase() -> None:
    """On a terminal: where it is, how long it may take, what it waits for."""
    one = seen(document("progressing", 1), "new")
    assert progress(one, 7300.0) == "new: 1%  [25%]  100%   progressing at 25%, 2 h 01 min left: needs 12 more distinct canary units"
    assert one.status is Status.PROGRESSING


def test_help_has_the_exit_codes_and_a_bare_number_is_no_time() -> None:
    """A duration is refused before anybody is asked."""
    app = typer.Typer(pretty_exceptions_enable=False)
    wait.register(app)
    shown = CliRunner().invoke(app, ["--help"], terminal_width=200)
    assert "3 rolled back" in " ".join(shown.output.split())
    refused = CliRunner().invoke(app, ["new", "--timeout", "7"])
    assert isinstance(refused.exception, SettingsError)
    assert refused.exception.problems[0].id == "settings.duration"


def test_the_guide_has_every_code() -> None:
    """docs/pipeline.md explains the numbers that the command ends with."""
    guide = (Path(__file__).parents[2] / "docs" / "pipeline.md").read_text(encoding="utf-8")
    for how in Ended:
        assert f"\n| {int(how)} | " in guide
