"""A Record and its Findings -> the report as one JSON-ready document; `page` shows the same document to people. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from extproc.domain import Finding, Rubric, Verdict
from extproc.judge.offline import tally
from extproc.judge.offline.exhibits import Clean, turns_of
from extproc.judge.offline.questions import Question
from extproc.judge.offline.records import Answered, Header, Record, Scored, Side

VERSION: Final = 1
WORST: Final = 10
"""Prompts that are shown first, for those who read no more."""
_LARGEST_E: Final = 700.0
"""ln of the largest e-value that a JSON number can be."""


@dataclass(frozen=True, slots=True)
class About:
    """What a report is of."""

    rollout: str
    application: str
    header: Header
    models: Mapping[Side, str]
    """Whose answers there are: the canary's, and stable's where it was asked."""
    rubric: Rubric
    judges: Mapping[str, str]
    """Name -> model."""
    seed: int
    ended: str
    """A judge.trial.Ended."""
    why: str
    """What stopped it, in words; empty where it was done."""
    at: str
    """When the report was made, ISO 8601."""
    max_usd: float
    keep_texts: bool


def document(
    about: About,
    verdict: Verdict,
    findings: Sequence[Finding],
    needed: int | None,
    record: Record,
    questions: Sequence[Question],
    clean: Clean,
) -> dict[str, Any]:
    """The report; docs/judge-offline.md describes it. `clean`: what redacts the questions' texts; answers are clean already."""
    sides, names = list(about.models), [question.id for question in questions]
    rows = [_prompt(question, sides, record, clean) for question in questions]
    return {
        "version": VERSION,
        "rollout": about.rollout,
        "application": about.application,
        "verdict": verdict.value,
        "findings": [_finding(one) for one in findings],
        "needed_prompts": needed,
        "ended": about.ended,
        "why": clean(about.why),
        "at": about.at,
        "seed": about.seed,
        "texts": "kept" if about.keep_texts else "redacted",
        "digests": {name: getattr(about.header, name) for name in ("canary", "stable", "prompts", "rubric", "judges")},
        "usd": record.usd,
        "max_usd": about.max_usd,
        "arms": {side.value: tally.side_document(record, side, about.models[side], names) for side in sides},
        "pairs": _pairs(record, names) if Side.STABLE in sides else None,
        "judge": tally.judge_document(record, sides, names, about.judges, about.rubric.name),
        "criteria": {one.name: {"question": one.question, "weight": one.weight} for one in about.rubric.criteria},
        "prompts": sorted(rows, key=_badness),
    }


def _finding(one: Finding) -> dict[str, Any]:
    return {
        "gate": one.gate,
        "verdict": one.verdict.value,
        "sentence": one.sentence,
        "estimate": one.estimate,
        "interval": list(one.interval) if one.interval is not None else None,
        "margin": one.margin,
        "canary_samples": one.canary_samples,
        "stable_samples": one.stable_samples,
        "canary_value": one.canary_value,
        "stable_value": one.stable_value,
        "harm_e": math.exp(min(_LARGEST_E, one.log_e_harm)),
        "safety_e": math.exp(min(_LARGEST_E, one.log_e_safe)),
        "harm_limit": math.exp(min(_LARGEST_E, one.log_e_limit)),
    }


def _pairs(record: Record, names: Sequence[str]) -> dict[str, Any]:
    """Both beside each other."""
    scored = tally.pairs(record, names)
    difference = tally.mean([canary - stable for canary, stable in scored], -1.0, 1.0)
    return {
        "scored": len(scored),
        "difference": difference.as_json() if difference is not None else None,
        "higher": sum(canary > stable for canary, stable in scored),
        "equal": sum(canary == stable for canary, stable in scored),
        "lower": sum(canary < stable for canary, stable in scored),
        **tally.preferred(record, names),
    }


# ------------------------------------------------------------------------------------------------------------------------- prompts
def _prompt(question: Question, sides: Sequence[Side], record: Record, clean: Clean) -> dict[str, Any]:
    """One question with what became of it."""
    scores = [record.scores.get((side, question.id)) for side in (Side.CANARY, Side.STABLE)]
    canary, stable = scores
    preference = record.preferences.get(question.id)
    return {
        "id": question.id,
        "tags": list(question.tags),
        "tools": [clean(str(_name_of(tool))) for tool in question.tools],
        "turns": [list(turn) for turn in turns_of(question, clean)],
        "difference": canary.value - stable.value if canary is not None and stable is not None else None,
        "preferred": None if preference is None else preference.winner.value if preference.winner is not None else "tie",
        "preferred_why": "" if preference is None else f"(A is {preference.a}) {preference.reason}",
        "answers": {side.value: _answer(record.answers.get((side, question.id)), record.scores.get((side, question.id))) for side in sides},
    }


def _name_of(tool: Mapping[str, Any]) -> Any:
    function = tool.get("function")
    return function.get("name", "") if isinstance(function, Mapping) else tool.get("name", tool.get("type", ""))


def _answer(answered: Answered | None, score: Scored | None) -> dict[str, Any] | None:
    if answered is None:
        return None
    return {
        "ending": answered.ending,
        "why": answered.why,
        "answer": answered.answer,
        "calls": [list(call) for call in answered.calls],
        "tripwires": list(answered.tripwires),
        "finish": answered.finish,
        "input_tokens": answered.input_tokens,
        "output_tokens": answered.output_tokens,
        "seconds": answered.seconds,
        "tries": answered.tries,
        "usd": answered.usd,
        "score": None if score is None else score.value,
        "criteria": {} if score is None else dict(score.by_criterion),
        "reason": "" if score is None else score.reason,
    }


def _badness(row: Mapping[str, Any]) -> tuple[int, float, str]:
    """The worst for the canary first: it alone failed, then what it loses by most; what nobody can compare comes last."""
    canary, stable = row["answers"]["canary"], row["answers"].get("stable")
    if canary is None:
        return 3, 0.0, row["id"]
    if canary["ending"] != "whole":
        return (0 if stable is None or stable["ending"] == "whole" else 2), 0.0, row["id"]
    if row["difference"] is not None:
        return 1, row["difference"] + {"canary": 1e-6, "stable": -1e-6}.get(row["preferred"], 0.0), row["id"]
    if "stable" not in row["answers"] and canary["score"] is not None:
        return 1, canary["score"], row["id"]
    return 2, 0.0, row["id"]


def worst(report: Mapping[str, Any], most: int = WORST) -> list[dict[str, Any]]:
    """Prompts that speak against the canary, the worst first: it alone failed, or it is behind; without a stable, the lowest scores."""
    alone = "stable" not in report["arms"]
    bad = [row for row in report["prompts"] if (rank := _badness(row))[0] == 0 or (rank[0] == 1 and (alone or rank[1] < 0))]
    return bad[:most]
