"""YAML text -> Rubric, with all problems at once. Pure.

A rubric is short and written by people. Unknown and doubled keys, aliases and tags are refused, and the weights must sum to 1: nothing is
guessed about what answers are judged by.
"""

from __future__ import annotations

import math
from difflib import get_close_matches
from hashlib import sha256
from typing import Annotated, Any, Final

import orjson
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from extproc.domain import Criterion, Rubric
from extproc.errors import ExtprocError, Problem

LONGEST: Final = 64_000
"""Characters of a rubric: the judge reads all of it with every answer, and somebody pays for that."""
DEEPEST: Final = 6
MOST_CRITERIA: Final = 10
"""Beyond ten a judge no longer tells them apart."""
_SCALARS: Final = {"str", "int", "float", "bool", "null"}


class RubricError(ExtprocError):
    """The rubric is not valid; `problems` lists everything that is wrong with it."""


def _one_line(value: Any) -> Any:
    if isinstance(value, str):
        value = " ".join(value.split())
        if not value.isprintable():
            raise ValueError("holds what cannot be printed")
    return value


Sentence = Annotated[str, BeforeValidator(_one_line), Field(min_length=1, max_length=600)]
Purpose = Annotated[str, BeforeValidator(_one_line), Field(min_length=1, max_length=2000)]


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class CriterionBlock(_Block):
    """One criterion as it is written."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
    question: Sentence
    weight: Annotated[float, Field(gt=0, le=1)]
    anchors: Annotated[list[Sentence], Field(min_length=5, max_length=5)]


class RubricBlock(_Block):
    """A rubric as it is written."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
    purpose: Purpose
    criteria: Annotated[list[CriterionBlock], Field(min_length=1, max_length=MOST_CRITERIA)]


def load(text: str) -> Rubric:
    """The Rubric in a YAML text; raises RubricError with every problem found."""
    values, lines = _read(text)
    problems = []
    document = None
    try:
        document = RubricBlock.model_validate(values)
    except ValidationError as error:
        problems = [_problem(detail, lines) for detail in error.errors(include_url=False)]
    problems += _between(values, lines)
    if problems or document is None:
        raise RubricError(sorted(problems, key=lambda problem: (problem.line, problem.path, problem.id)))
    criteria = tuple(Criterion(one.name, one.question, one.weight, _five(one.anchors)) for one in document.criteria)
    # Of what the judge reads, not of what is written: a comment or another break of lines changes no score.
    digest = sha256(orjson.dumps(document.model_dump(), option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
    return Rubric(document.name, document.purpose, criteria, digest)


def _five(anchors: list[str]) -> tuple[str, str, str, str, str]:
    one, two, three, four, five = anchors
    return one, two, three, four, five


# -------------------------------------------------------------------------------------------------------------------------- rules
def _between(values: Any, lines: dict[str, int]) -> list[Problem]:
    """What no single criterion can see."""
    written = values.get("criteria") if isinstance(values, dict) else None
    entries = [entry if isinstance(entry, dict) else {} for entry in written] if isinstance(written, list) else []
    problems = []
    names = [entry.get("name") for entry in entries]
    for index, name in enumerate(names):
        if isinstance(name, str) and name in names[:index]:
            path = f"criteria[{index}].name"
            problems.append(Problem("rubric.twice", path, f"{name!r} is there already", "name each criterion once", lines.get(path, 0)))
    weights = [entry.get("weight") for entry in entries]
    numbers = [float(weight) for weight in weights if isinstance(weight, int | float) and not isinstance(weight, bool)]
    if entries and len(numbers) == len(weights) and not math.isclose(sum(numbers), 1.0, abs_tol=1e-6):
        hint = "a score is the mean by these weights: let them sum to 1"
        problems.append(Problem("rubric.weights", "criteria", f"the weights sum to {sum(numbers):g}", hint, lines.get("criteria", 0)))
    return problems


def _problem(detail: ErrorDetails, lines: dict[str, int]) -> Problem:
    kind, where, context = detail["type"], detail["loc"], detail.get("ctx", {})
    path = _shown(where)
    identity, hint = "rubric.value", ""
    if kind == "extra_forbidden":
        block: type[BaseModel] = CriterionBlock if len(where) > 1 else RubricBlock
        near = get_close_matches(str(where[-1]), block.model_fields, n=1)
        identity, message = "rubric.unknown-key", f"unknown key {where[-1]!r}"
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(block.model_fields)}"
    elif kind == "missing":
        identity, message = "rubric.missing-key", f"the key {where[-1]!r} is missing"
        hint = "docs/judge.md shows a whole rubric"
    elif where[-1:] == ("anchors",) and kind in ("too_short", "too_long"):
        message, hint = f"has {context['actual_length']} anchors", "write five: what earns 1, 2, 3, 4 and 5"
    elif kind == "string_pattern_mismatch":
        message = f"{str(detail['input'])[:40]!r} is no name"
        hint = (
            "lower-case letters, digits and underscores, beginning with a letter" if len(where) > 1 else "lower-case letters, digits, . _ -"
        )
    elif kind == "string_type":
        message, hint = f"{str(detail['input'])[:40]!r} is no text", "put it in quotes: YAML reads yes, no and 4.1 as something else"
    elif kind == "value_error":
        message, hint = str(context["error"]), "write it in plain letters"
    else:
        message = detail["msg"]
    return Problem(identity, path, message, hint, _line(path, lines))


def _line(path: str, lines: dict[str, int]) -> int:
    """Of a path, or of the nearest block around it."""
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path or "rubric", 0)


def _shown(where: tuple[str | int, ...]) -> str:
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "rubric"


# --------------------------------------------------------------------------------------------------------------------------- YAML
def _read(text: str) -> tuple[Any, dict[str, int]]:
    """The plain values, and the line of each path."""
    if len(text) > LONGEST:
        raise RubricError(Problem("rubric.too-large", "rubric", f"{len(text)} characters", f"a rubric has at most {LONGEST}"))
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        mark = getattr(error, "problem_mark", None)
        said = str(getattr(error, "problem", None) or "cannot be read as YAML")
        line = mark.line + 1 if mark is not None else 0
        raise RubricError(Problem("rubric.yaml", "rubric", said, "check indentation, brackets and quotes", line)) from error
    if root is None:
        raise RubricError(Problem("rubric.empty", "rubric", "the text is empty", "docs/judge.md shows a whole rubric"))
    walk = _Walk()
    values = walk.value(root, (), set())
    if walk.problems:
        raise RubricError(walk.problems)
    return values, walk.lines


class _Walk:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.lines: dict[str, int] = {}
        self._scalars = yaml.SafeLoader("")

    def value(self, node: yaml.Node, where: tuple[str | int, ...], seen: set[int]) -> Any:
        path, line = _shown(where), node.start_mark.line + 1
        self.lines[path] = line
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path, line)
        if id(node) in seen or len(where) > DEEPEST:
            return self._refuse("rubric.shape", path, "is an alias, or nested too deep", "write it out, as docs/judge.md does", line)
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*where, index), seen) for index, child in enumerate(node.value)]
        found: dict[str, Any] = {}
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in found:
                twice = "a key is there twice, or is no word"
                self._refuse("rubric.key", path, twice, "keep one of them", key.start_mark.line + 1)
            else:
                found[key.value] = self.value(child, (*where, key.value), seen)
        return found

    def _scalar(self, node: yaml.ScalarNode, path: str, line: int) -> Any:
        if node.tag.removeprefix("tag:yaml.org,2002:") in _SCALARS:
            try:
                node.value.encode()
                return self._scalars.construct_object(node)
            except (ValueError, ArithmeticError, LookupError, yaml.YAMLError):
                pass
        return self._refuse("rubric.scalar", path, "cannot be read", "write plain text, and put it in quotes", line)

    def _refuse(self, identity: str, path: str, message: str, hint: str, line: int) -> None:
        self.problems.append(Problem(identity, path, message, hint, line))
