"""Results that survive, numbers that add up, and a page that is text whatever was said."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
from rich.console import Console

from extproc.cli import judged
from extproc.cli.judge_progress import shown
from extproc.domain import (
    ApplicationType,
    Comparison,
    Endpoint,
    Exhibit,
    Judge,
    JudgeEndpoint,
    Preference,
    Prices,
    Rubric,
    Score,
    Unscored,
    Verdict,
)
from extproc.errors import SettingsError
from extproc.judge.budget import Budget
from extproc.judge.offline import records, report, tally
from extproc.judge.offline.page import page
from extproc.judge.offline.questions import Question, load
from extproc.judge.offline.records import Answered, Header, Preferred, Record, Scored, Side, Unjudged
from extproc.judge.panel import Panel
from extproc.judge.results import Results
from extproc.judge.shipped import rubric_for
from extproc.judge.trial import Terms, Trial
from tests.support.specs import model, rollout

HEADER = Header("r", "c" * 16, "s" * 16, "p" * 16, "u" * 16, "j" * 16, "t" * 16)
RUBRIC = rubric_for(ApplicationType.CHATBOT)
EVIL = "</pre><script>x</script>\"'><svg onload=y>\u202e\x00"
CANARY, STABLE = Side.CANARY, Side.STABLE


def answered(side: Side, name: str, **changes: Any) -> Answered:
    plain = Answered(side, name, "whole", answer="yes", finish="stop", input_tokens=10, output_tokens=5, usd=0.01, seconds=1.0)
    return replace(plain, **changes)


def scored(side: Side, name: str, value: float, again: bool = False, reason: str = "so so") -> Scored:
    return Scored(side, name, again, value, {one.name: value for one in RUBRIC.criteria}, reason, 0.001, 900, 60)


def preferred(name: str, winner: Side | None) -> Preferred:
    orders = (Preference.A, Preference.B) if winner else (Preference.A, Preference.A)
    return Preferred(name, winner, {"helpfulness": winner}, *orders, CANARY, "rather", 0.002, 1800, 120)


LINES: list[records.Line] = [
    answered(CANARY, "a", tripwires=("refusal",)),
    answered(STABLE, "a"),
    scored(CANARY, "a", 0.25),
    scored(STABLE, "a", 0.75),
    scored(STABLE, "a", 0.5, again=True),
    preferred("a", STABLE),
    answered(CANARY, "b"),
    answered(STABLE, "b", seconds=3.0),
    scored(CANARY, "b", 0.75),
    scored(STABLE, "b", 0.5),
    preferred("b", None),
    answered(CANARY, "c", ending="failed", why="no answer within 9 s", usd=None),
    answered(STABLE, "c"),
    scored(STABLE, "c", 1.0),
    Unjudged("c", "nonsense", "the answer is no JSON", 0.5, 7, 3),
]
QUESTIONS = load('{"id":"a","prompt":"A?"}\n{"id":"b","prompt":"B?"}\n{"id":"c","prompt":"C?"}\n{"id":"d","prompt":"D?"}')


def record(lines: list[records.Line]) -> Record:
    made = Record()
    for line in lines:
        made.take(line)
    return made


def made_report(
    lines: list[records.Line], questions: tuple[Question, ...] = QUESTIONS, sides: tuple[Side, ...] = (CANARY, STABLE)
) -> dict[str, Any]:
    names, known = [question.id for question in questions], record(lines)
    found = judged.beside_stable(tally.pairs(known, names), tally.failures(known, names), rollout())
    models = {side: f"the {side}" for side in sides}
    about = report.About("r", "chat", HEADER, models, RUBRIC, {"judge": "judge-1"}, 1, "done", "", "2026-01-01T00:00:00+00:00", 5.0, False)
    return report.document(about, found.verdict, found.findings, found.needed, known, questions, str)


def test_results_are_there_after_a_restart(tmp_path: Path) -> None:
    """Every kind of line comes back as it was; a torn last line is dropped and written over; nothing counts twice but its price."""
    with Results(tmp_path / "deep" / "dir", HEADER) as results:
        for line in LINES:
            results.add(line)
    path = tmp_path / "deep" / "dir" / "results.jsonl"
    path.write_bytes(path.read_bytes() + b'{"kind": "score", "si')
    with Results(tmp_path / "deep" / "dir", HEADER) as results:
        assert results.record == record(LINES)
        results.add(answered(CANARY, "d"))
    assert [orjson.loads(line)["kind"] for line in path.read_bytes().splitlines()][-2:] == ["unjudged", "answer"]
    twice = record([answered(CANARY, "a"), answered(CANARY, "a", answer="no")])
    assert twice.answers[CANARY, "a"].answer == "yes"
    assert twice.usd == pytest.approx(0.02)
    assert path.stat().st_mode & 0o077 == 0


def test_results_of_something_else_are_refused(tmp_path: Path) -> None:
    """With what is other; also a file that is none, a line that is none, and a directory in which somebody works."""
    with Results(tmp_path, HEADER), pytest.raises(SettingsError, match=r"judge\.in-use"):
        Results(tmp_path, HEADER)
    for name, word in (
        ("canary", "another canary"),
        ("prompts", "other prompts"),
        ("rubric", "another rubric"),
        ("texts", "redacted otherwise"),
    ):
        with pytest.raises(SettingsError, match=word) as caught:
            Results(tmp_path, replace(HEADER, **{name: "x"}))
        assert caught.value.problems[0].id == "judge.other-results"
    path = tmp_path / "results.jsonl"
    path.write_bytes(path.read_bytes() + b'{"kind": "answer"}\n')
    with pytest.raises(SettingsError, match="line 2"):
        Results(tmp_path, HEADER)
    path.write_bytes(b"hello\n")
    with pytest.raises(SettingsError, match=r"judge\.results"):
        Results(tmp_path, HEADER)


def test_a_header_changes_with_what_answers_depend_on() -> None:
    """Address and name of a model, the judge's model, the rubric; not with prices."""
    prices = Prices(Decimal(1), Decimal(1), Decimal(1))
    endpoint = JudgeEndpoint("j", "http://j/v1", "judge-1", None, None, None, 5.0, 4)
    judge = Judge((endpoint,), RUBRIC, 0.05, Decimal(5), Decimal(9), 180.0, 0.1, None, {}, 3600.0, 4096)
    old, new = model("old"), model("new")
    first = records.header_of("r", new, old, "p", judge, False)
    assert first == records.header_of("r", replace(new, prices=prices), old, "p", judge, False)
    moved = replace(new, backends=(replace(new.backends[0], endpoints=(Endpoint("h", 1, None),)),))
    others = [
        records.header_of("r", moved, old, "p", judge, False),
        records.header_of("r", replace(new, send_model="n"), old, "p", judge, False),
        records.header_of("r", new, old, "p", replace(judge, endpoints=(replace(endpoint, model="judge-2"),)), False),
        records.header_of("r", new, old, "p", replace(judge, patterns={"x": "y"}), False),
        records.header_of("r", new, old, "p", judge, True),
    ]
    assert len({first, *others}) == 6


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_on_a_terminal_and_in_a_log(tmp_path: Path, terminal: bool) -> None:
    """Asked, judged, failed and money of this and earlier runs; the last state stays."""
    said = StringIO()

    async def watch(results: Results) -> None:
        terms = Terms(RUBRIC, 0.1, None, 1, 4)
        trial = Trial(QUESTIONS, {}, Panel("none", [Silent()]), results, Budget(Decimal(5)), str, terms)
        trial._models = dict.fromkeys(Side, cast(Any, None))
        showing = asyncio.ensure_future(shown(trial, 5.0, Console(file=said, force_terminal=terminal, width=120, color_system=None)))
        await asyncio.sleep(1.0)
        showing.cancel()
        with suppress(asyncio.CancelledError):
            await showing

    with Results(tmp_path, HEADER) as results:
        for line in LINES:
            results.add(line)
        asyncio.run(watch(results))
    words = ("6/8", "1 failed", "5/8", "of $5.00") if terminal else ("asked 6 of 8", "judged 5", "failed 1", "$0.5600 of $5.00")
    assert all(word in said.getvalue() for word in words), said.getvalue()


class Silent:
    """A judge that is not asked."""

    async def score(self, rubric: Rubric, exhibit: Exhibit) -> Score | Unscored:
        raise AssertionError

    async def prefer(self, rubric: Rubric, a: Exhibit, b: Exhibit) -> Comparison | Unscored:
        raise AssertionError


def test_numbers_of_both_sides() -> None:
    """Failures are counted and have no score; preferences, tokens, money and noise add up; what was not asked is said."""
    made = made_report(LINES)
    canary, stable = made["arms"]["canary"], made["arms"]["stable"]
    assert (canary["asked"], canary["failed"], canary["scored"]) == (3, 1, 2)
    assert canary["failures"] == {"failed: no answer within 9 s": 1}
    assert canary["tripwires"] == {"refusal": 1}
    assert stable["score"]["mean"] == pytest.approx(0.75)
    assert (stable["input_tokens"], stable["seconds"]["max"]) == (30, 3.0)
    pairs = made["pairs"]
    assert (pairs["scored"], pairs["wins"], pairs["ties"], pairs["losses"], pairs["higher"], pairs["lower"]) == (2, 0, 1, 1, 1, 1)
    assert made["judge"]["unscored"] == {"nonsense": 1}
    assert made["judge"]["usd"] == pytest.approx(6 * 0.001 + 2 * 0.002 + 0.5)
    assert made["usd"] == pytest.approx(made["judge"]["usd"] + 0.05)
    assert made["judge"]["places"] == {"first": 1, "second": 0, "agreed": 1, "level": 0}
    assert "answers judged twice: 1;" in made["judge"]["noise_said"]
    assert orjson.loads(orjson.dumps(made)) == made


def test_the_worst_comes_first() -> None:
    """What the canary alone failed, then what it lost by most, then the rest; what was never asked is last."""
    made = made_report(LINES)
    assert [row["id"] for row in made["prompts"]] == ["c", "a", "b", "d"]
    assert [row["id"] for row in report.worst(made)] == ["c", "a"]
    alone = made_report(LINES[:3] + LINES[6:7] + LINES[8:9], sides=(CANARY,))
    assert [row["id"] for row in report.worst(alone)] == ["a", "b"]


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_verdict_is_a_word_and_a_sign_before_a_colour(verdict: Verdict) -> None:
    """All four can be told apart in black and white."""
    shown = page({**made_report(LINES), "verdict": verdict.value})
    word = {"pass": "✓ PASS", "fail": "✗ FAIL", "inconclusive": "? INCONCLUSIVE", "no_data": "– NO DATA"}[verdict.value]
    assert f'<span class="word">{word}</span>' in shown
    assert "prefers-color-scheme: dark" in shown


def test_every_text_is_escaped_wherever_it_stands() -> None:
    """Prompt, answer, call, reason, failure, tag, tool, model: markup comes out as text, and nothing invisible comes out."""
    talk = [{"role": "user", "content": EVIL}]
    tools = [{"type": "function", "function": {"name": EVIL}}]
    questions = load(
        orjson.dumps({"id": "a", "messages": talk, "tools": tools, "tags": [EVIL[:40]]}).decode() + '\n{"id":"b","prompt":"B?"}'
    )
    wicked = answered(CANARY, "a", answer=EVIL, calls=((EVIL, EVIL),), finish=EVIL, tripwires=(EVIL,))
    lines: list[records.Line] = [
        wicked,
        answered(STABLE, "a"),
        scored(CANARY, "a", 0.5, reason=EVIL),
        scored(STABLE, "a", 0.6),
        replace(preferred("a", STABLE), reason=EVIL),
        answered(CANARY, "b", ending="failed", why=EVIL),
        Unjudged("b", "nonsense", EVIL, None, 0, 0),
    ]
    made = made_report(lines, questions)
    made["arms"]["canary"]["model"] = made["rollout"] = made["application"] = made["why"] = EVIL
    made["ended"] = "stopped"
    shown = page(made)
    for piece in ("<script", "<svg", "\u202e", "\x00", "</pre><s"):
        assert piece not in shown
    assert shown.count("&lt;script&gt;x&lt;/script&gt;") >= 10
    assert page(made_report([], QUESTIONS)).count("<details") == 4
