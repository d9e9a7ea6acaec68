"""Text -> Spec, with all problems at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from hashlib import sha256
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import orjson
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from extproc.domain import Rollout, Spec
from extproc.errors import Problem, SpecError
from extproc.spec.bundle import parted
from extproc.spec.checks import check, did_you_mean
from extproc.spec.document import Document
from extproc.spec.document.base import (
    CLAIM_PATTERN,
    COOKIE_PATTERN,
    COUNTRY_OR_GROUP_PATTERN,
    COUNTRY_PATTERN,
    GROUP_PATTERN,
    HEADER_PATTERN,
    KEY_PATTERN,
    NAME_PATTERN,
    ORIGIN_PATTERN,
    REGION_PATTERN,
)
from extproc.spec.document.deploy import (
    ACCOUNT_PATTERN,
    BUCKET_PATTERN,
    DOMAIN_PATTERN,
    IMAGE_PATTERN,
    LABEL_PATTERN,
    QUANTITY_PATTERN,
)
from extproc.spec.resolve import resolve
from extproc.spec.units import show_duration, show_share
from extproc.spec.yamltext import Lines, Path, parse, show

_IDS = {"extra_forbidden": "spec.unknown-key", "missing": "spec.missing-key", "literal_error": "spec.choice", "enum": "spec.choice"}
_LONGEST = 80
"""Characters of a value that a message repeats."""
_SHAPES = {
    "model_type": "must be a block of keys",
    "dict_type": "must be a block of keys",
    "list_type": "must be a list, such as [a, b]",
    "int_type": "must be a whole number, without quotes",
    "float_type": "must be a number, without quotes",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "too_long": "must have at most {max_length} characters",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
}
"""pydantic's kinds of error, as a person says them; the rest is worded by the blocks themselves."""
_PATTERNS = {
    NAME_PATTERN: "must be a name: lower-case letters, digits, dot, dash and underscore, at most 63, beginning with a letter or digit",
    HEADER_PATTERN: "must be a header name: letters, digits and !#$%&'*+.^_`|~- without blanks",
    COUNTRY_PATTERN: "must be a country code: two upper-case letters, such as DE",
    COUNTRY_OR_GROUP_PATTERN: "must be a country code: two upper-case letters, such as DE, or the name of a group, such as EU",
    GROUP_PATTERN: "must be the name of a group: at least three upper-case letters, digits and underscores",
    REGION_PATTERN: "must be a country and its subdivision, such as GB-ENG",
    CLAIM_PATTERN: "must be a claim, or the dotted path to one, such as realm_access.roles",
    COOKIE_PATTERN: "must be a cookie name: letters, digits, dash and underscore, at most 64",
    ORIGIN_PATTERN: "must be an origin: scheme, name in lower case and port where it is not the usual one, such as https://chat.example.com",
    "^/": "must start with /",
    "^@": "must start with @",
    "@": "must be an address of e-mail",
    ":[0-9]+$": "must be HOST:PORT",
    "^https://": "must start with https://",
    "^https?://": "must start with http:// or https://",
    LABEL_PATTERN: "must be a name of Kubernetes: lower-case letters, digits and dashes, at most 63",
    IMAGE_PATTERN: "must be an image with a tag or a digest, such as registry.acme.test/extproc:0.1.0",
    DOMAIN_PATTERN: "must be a domain in lower case, such as chat.acme.test",
    QUANTITY_PATTERN: "must be a quantity of Kubernetes, such as 500m, 4 or 32Gi",
    BUCKET_PATTERN: "must be the name of a bucket",
    ACCOUNT_PATTERN: "must be the address of a service account, such as chat@acme.iam.gserviceaccount.com",
    KEY_PATTERN: "must be a key of the request's body: letters, digits and underscore, at most 64",
}


def load(text: str) -> Spec:
    """The Spec in a YAML text, or in a bundle of it and its files; raises SpecError with every problem found, in the order of lines.

    A text that is no YAML is told as such, alone: nothing can be read of it. Otherwise faults of shape and faults between blocks
    come together; only what depends on a block that cannot be read has to wait for the next run.
    """
    text, files = parted(text)
    values, lines = parse(text)
    problems: list[Problem] = []
    document: Document | None = None
    try:
        document = Document.model_validate(values)
    except ValidationError as error:
        problems = [_problem(detail, lines) for detail in error.errors(include_url=False)]
    problems += [Problem(identity, show(path), message, hint, lines.of(path)) for identity, path, message, hint in check(values, files)]
    if problems or document is None:
        raise SpecError(sorted(problems, key=lambda problem: (problem.line, problem.path, problem.id)))
    return resolve(document, digest(values, files), files)


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the Spec, for editors."""
    schema = _standard(Document.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _standard(schema: Any) -> Any:
    # Limits of a share, which is text such as "5%", come out as keywords that no draft of JSON Schema knows; and names of models
    # and rollouts as a pattern that lets all other names through.
    if isinstance(schema, dict):
        closed = {"additionalProperties": False} if "patternProperties" in schema else {}
        return {key: _standard(value) for key, value in schema.items() if key not in ("gt", "ge", "lt", "le")} | closed
    return [_standard(value) for value in schema] if isinstance(schema, list) else schema


def digest(values: object, files: Mapping[str, str]) -> str:
    """Identity of a document and its files: 16 hex digits of SHA-256 over its canonical JSON, and theirs."""
    hashed = sha256(orjson.dumps(values, option=orjson.OPT_SORT_KEYS))
    for name in sorted(files):
        hashed.update(orjson.dumps([name, sha256(files[name].encode()).hexdigest()]))
    return hashed.hexdigest()[:16]


def fingerprint(rollout: Rollout) -> str:
    """Identity of one rollout's own part: while it runs, salt, unit, cohorts, models, phases and gates must not change.

    When it may go on by itself (windows, freezes, approval) is left out: that holds nothing that was decided, and a freeze that is
    declared during an incident must not ask for a rollback first. So is how many answers are judged.
    """
    judging = replace(rollout.judging, share=0.0) if rollout.judging is not None else None
    rollout = replace(rollout, approval_above=1.0, windows=(), freezes=(), judging=judging)
    option = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS
    return sha256(orjson.dumps(rollout, option=option, default=_kind_and_fields)).hexdigest()[:16]


def _kind_and_fields(noun: Any) -> Any:
    # With its kind: `all` and `any` of the same selectors are made of the same fields.
    return {type(noun).__name__: {one.name: getattr(noun, one.name) for one in fields(noun)}} if is_dataclass(noun) else str(noun)


def _problem(detail: ErrorDetails, lines: Lines) -> Problem:
    kind, context = detail["type"], detail.get("ctx", {})
    path: Path = detail["loc"][:-1] if detail["loc"][-1:] == ("[key]",) else detail["loc"]
    given, hint = detail["input"], _described(path)
    if kind == "extra_forbidden":
        message, hint = f"unknown key {path[-1]!r}", did_you_mean(str(path[-1]), _keys_at(path[:-1]))
    elif kind == "missing":
        message = f"the key {path[-1]!r} is missing"
    elif kind in ("enum", "literal_error"):
        message, hint = f"{_said(given)} is not one of the choices", _choice(given, str(context["expected"]))
    elif kind == "value_error":
        message = f"{context['error']}" if isinstance(given, dict | list) else f"{_said(given)} {context['error']}"
    else:
        pattern = _PATTERNS.get(context.get("pattern", ""))
        message = f"{_said(given)} {pattern or _SHAPES.get(kind, detail['msg']).format(**_limits(given, context))}"
        if kind == "string_type" and not isinstance(given, dict | list | None):
            hint = "put it in quotes: YAML reads NO, yes, on as true or false, and 4.1 as a number"
    return Problem(_IDS.get(kind, "spec.value"), show(path), message, hint, lines.of(path))


def _said(value: Any) -> str:
    """A written value in a sentence: short, and without what is inside a block."""
    if isinstance(value, dict):
        return "a block"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "an empty value"
    if isinstance(value, bool):
        return str(value).lower()
    said = repr(value)
    return said if len(said) <= _LONGEST else f"{said[: _LONGEST - 3]}..."


def _limits(given: Any, context: Mapping[str, Any]) -> dict[str, Any]:
    """Limits in the unit in which the value is written."""
    unit = given.strip()[-1:] if isinstance(given, str) else ""
    if not unit or unit not in "%smhd":
        return dict(context)
    show = show_share if unit == "%" else show_duration
    return {key: show(float(limit)) if key in ("gt", "ge", "lt", "le") else limit for key, limit in context.items()}


def _choice(given: Any, expected: str) -> str:
    return did_you_mean(str(given), expected.replace(" or ", ", ").replace("'", "").split(", "))


def _field_at(path: Path) -> tuple[Any, FieldInfo | None]:
    """The annotation of what a path leads to, and the last field on the way. Names inside a mapping are no fields."""
    annotation: Any = Document
    field: FieldInfo | None = None
    for part in path:
        inner = _plain(annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            field = next((one for name, one in inner.model_fields.items() if (one.alias or name) == part), None)
            annotation = field.annotation if field is not None else None
        else:
            annotation = (get_args(inner) or (None,))[-1]
    return _plain(annotation), field


def _plain(annotation: Any) -> Any:
    """An annotation without `Annotated` and `| None`."""
    while get_origin(annotation) in (Annotated, Union, UnionType):
        annotation = get_args(annotation)[0]
    return annotation


def _keys_at(path: Path) -> list[str]:
    block, _ = _field_at(path)
    return [field.alias or name for name, field in block.model_fields.items()]


def _described(path: Path) -> str:
    _, field = _field_at(path)
    return (field.description or "") if field is not None else ""
