"""The judge's block: its rubric, its patterns, and where it says too little of money."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from extproc.judge import rubric
from extproc.spec.checks.tools import Found, mapping


def nobody_judges(document: Mapping[str, Any]) -> bool:
    """True where the list of judges is there, and empty: rules alone look at sampled answers."""
    return mapping(document.get("judge")).get("judges") == []


def check(document: Mapping[str, Any], contents: Mapping[str, str]) -> Iterator[Found]:
    """Its own rubric can be read, and its patterns can be used."""
    written = mapping(document.get("judge"))
    name = written.get("rubric_file")
    if isinstance(name, str) and name in contents:
        try:
            rubric.load(contents[name])
        except rubric.RubricError as error:
            for problem in error.problems:
                where = f"{name}, line {problem.line}" if problem.line else name
                yield "spec.rubric", ("judge", "rubric_file"), f"{where}: {problem.path}: {problem.message}", problem.hint
    patterns = mapping(written.get("redact"))
    if patterns and all(isinstance(one, str) for pair in patterns.items() for one in pair):
        # Here and not above: whoever loads a Spec without patterns, every router's worker, needs none of these libraries.
        from extproc.judge.redact import problems_of

        for problem in problems_of(patterns):
            yield f"spec.{problem.id}", ("judge", *problem.path.split(".")), problem.message, problem.hint
