"""Text -> Spec. All problems at once: text, shape, then what no single block can see."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from extproc.domain import Rollout, Spec
from extproc.errors import Problem, SpecError
from extproc.spec.check import check, did_you_mean
from extproc.spec.document import Document
from extproc.spec.resolve import resolve
from extproc.spec.yamltext import Lines, Path, parse, show

_IDS = {"extra_forbidden": "spec.unknown-key", "missing": "spec.missing-key", "value_error": "spec.value", "enum": "spec.choice"}
_HINTS = {
    "^[a-z0-9][a-z0-9._-]{0,62}$": "names are lower-case letters, digits, dot, dash and underscore",
    "^[A-Z]{2}$": "countries are two upper-case letters, such as DE",
    "^/": "paths start with /",
}


def load(text: str) -> Spec:
    """The Spec in a YAML text; raises SpecError with every problem found."""
    values, lines = parse(text)
    try:
        document = Document.model_validate(values)
    except ValidationError as error:
        problems = [_problem(detail, lines) for detail in error.errors(include_url=False)]
        raise SpecError(_in_order(problems)) from None
    found = [Problem(identity, show(path), message, hint, lines.of(path)) for identity, path, message, hint in check(document)]
    if found:
        raise SpecError(_in_order(found))
    return resolve(document, digest(values))


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the Spec, for editors."""
    schema = Document.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def digest(values: object) -> str:
    """Identity of a document: 16 hex digits of SHA-256 over its canonical JSON."""
    return sha256(orjson.dumps(values, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def fingerprint(rollout: Rollout) -> str:
    """Identity of one rollout's own part: while it runs, salt, unit, cohorts, models, phases and gates must not change."""
    return sha256(orjson.dumps(rollout, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()[:16]


def _in_order(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (problem.line, problem.path, problem.id))


def _problem(detail: ErrorDetails, lines: Lines) -> Problem:
    kind = detail["type"]
    path = _written_path(detail["loc"])
    identity = _IDS.get(kind, "spec.value")
    if kind == "extra_forbidden":
        return Problem(identity, show(path), f"unknown key {path[-1]!r}", did_you_mean(str(path[-1]), _keys_at(path[:-1])), lines.of(path))
    if kind == "missing":
        return Problem(identity, show(path), f"the key {path[-1]!r} is missing", _described(path), lines.of(path))
    if kind == "value_error":
        return Problem(identity, show(path), str(detail["ctx"]["error"]), _described(path), lines.of(path))
    pattern = detail.get("ctx", {}).get("pattern", "")
    given = repr(detail["input"])
    message = f"{given if len(given) < 80 else given[:77] + '...'}: {detail['msg'][0].lower()}{detail['msg'][1:]}"
    return Problem(identity, show(path), message, _HINTS.get(pattern, _described(path)), lines.of(path))


def _written_path(location: tuple[int | str, ...]) -> Path:
    """A pydantic location without the names that unions and keys add (`bool`, `TlsBlock`, `[key]`)."""
    return tuple(
        part for part in location if part != "[key]" and not (isinstance(part, str) and (part == "bool" or part.endswith("Block")))
    )


def _model_at(path: Path) -> tuple[type[BaseModel] | None, Any]:
    """The block that a path leads into, and the last field on the way."""
    current: type[BaseModel] | None = Document
    field: Any = None
    for part in path:
        if current is not None and isinstance(part, str) and part in current.model_fields:
            field = current.model_fields[part]
            current = _block_of(field.annotation)
    return current, field


def _block_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        block = _block_of(inner)
        if block is not None:
            return block
    return None


def _keys_at(path: Path) -> list[str]:
    block, _ = _model_at(path)
    return list(block.model_fields) if block is not None else []


def _described(path: Path) -> str:
    _, field = _model_at(path)
    return str(field.description) if field is not None and field.description else ""
