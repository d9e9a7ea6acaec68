"""The rubrics and anchors that come with extproc, one of each per type of application. Reads package data, and does nothing else."""

from __future__ import annotations

from importlib import resources

from extproc.domain import Anchor, ApplicationType, Rubric
from extproc.judge import anchors, rubric


def rubric_for(kind: ApplicationType) -> Rubric:
    """The rubric for applications of this type."""
    return rubric.load(_text("rubrics", f"{kind}.yaml"))


def anchors_for(kind: ApplicationType) -> tuple[Anchor, ...]:
    """The anchors for applications of this type."""
    return anchors.load(_text("anchors", f"{kind}.jsonl"))


def _text(folder: str, name: str) -> str:
    return resources.files("extproc.judge").joinpath(folder, name).read_text(encoding="utf-8")
