"""Whether JSON fits a JSON Schema that a stranger wrote: by the library `jsonschema`, in bounded time, with no look outside.

A request's schema may be hostile: patterns that backtrack for ever, references that fan out, addresses to fetch. So only the keywords
below are checked, each step costs from a budget, and references are followed within the schema alone. What is not checked allows
more, never less: `oneOf` counts as `anyOf`, and `not`, `if`, `pattern`, `format`, `unevaluated...` say nothing. No verdict counts as
fitting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import UnknownType, ValidationError
from jsonschema.validators import create
from referencing import Registry
from referencing.exceptions import Unresolvable

MOST_STEPS: Final = 40_000
"""Budget: keywords, and members of what they walk over. About a third of a second; an answer takes some hundred."""
LARGEST: Final = 64 << 10
"""Bytes of a schema, and of the JSON, that are checked at most."""
BYTES_PER_STEP: Final = 16
"""A fault's message repeats JSON and schema, so that a fault costs more steps the larger these are."""

_CHECKED: Final = (
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "prefixItems",
    "properties",
    "required",
    "type",
)

Keyword = Callable[..., Iterator[ValidationError] | None]


class _BudgetSpentError(Exception):
    """There is no verdict."""


class _Budget:
    """Steps that are left for one check."""

    __slots__ = ("left", "per_fault")

    def __init__(self, left: int, per_fault: int) -> None:
        self.left = left
        self.per_fault = per_fault

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise _BudgetSpentError


def breaks(schema: Mapping[str, Any], document: Any) -> bool:
    """Whether the document certainly breaks the schema; False as well where the schema is none, or checking it takes too long."""
    size = max(_size(schema), _size(document))
    if not schema or size > LARGEST:
        return False
    validator = _validator(schema, _Budget(MOST_STEPS, 1 + size // BYTES_PER_STEP))
    try:
        return next(iter(validator.iter_errors(document)), None) is not None
    except (_BudgetSpentError, Unresolvable, UnknownType, RecursionError, TypeError, ValueError, AttributeError, KeyError, OverflowError):
        return False  # the schema is no schema, is too much, or points outside


def _size(value: Any) -> int:
    """Bytes as JSON; more than LARGEST where it cannot be written."""
    try:
        return len(orjson.dumps(value))
    except TypeError:
        return LARGEST + 1


def _validator(schema: Mapping[str, Any], budget: _Budget) -> Any:
    keywords: dict[str, Any] = {name: _counted(Draft202012Validator.VALIDATORS[name], budget) for name in _CHECKED}
    keywords["oneOf"] = keywords["anyOf"]
    keywords["additionalProperties"] = _unless_patterns(keywords["additionalProperties"])
    # The dialect that the schema names is not looked up: drafts agree on these keywords, but for an array of `items`: no verdict.
    plain = {name: value for name, value in schema.items() if name != "$schema"}
    made: Any = create(
        meta_schema=Draft202012Validator.META_SCHEMA,
        validators=keywords,
        type_checker=Draft202012Validator.TYPE_CHECKER,
        id_of=lambda _: "",
    )
    return made(plain, registry=Registry())


def _counted(keyword: Keyword, budget: _Budget) -> Keyword:
    """The same, at a price."""

    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        budget.spend(1 + _members(value) + _members(instance))
        for fault in keyword(validator, value, instance, schema) or ():
            budget.spend(budget.per_fault)
            yield fault

    return counted


def _members(value: Any) -> int:
    return len(value) if isinstance(value, dict | list) else 0


def _unless_patterns(keyword: Keyword) -> Keyword:
    """Which properties are additional is not known where patterns, which are not looked at, name some."""

    def checked(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if "patternProperties" not in schema:
            yield from keyword(validator, value, instance, schema) or ()

    return checked
