"""The golden sets that come with extproc, one per type of application. Reads package data, and does nothing else."""

from __future__ import annotations

from importlib import resources

from extproc.domain import ApplicationType
from extproc.judge.offline import questions


def golden_for(kind: ApplicationType) -> tuple[questions.Question, ...]:
    """The set for applications of this type."""
    text = resources.files("extproc.judge").joinpath("golden", f"{kind}.jsonl").read_text(encoding="utf-8")
    return questions.load(text, f"golden/{kind}.jsonl")
