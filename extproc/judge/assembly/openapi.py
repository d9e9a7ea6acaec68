"""The part of OpenAPI's schemas that Gemini takes -> JSON Schema: types in capitals, `nullable`, numbers as strings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from extproc.judge.assembly.shapes import Table, pick, table, tables, text

DEEPEST: Final = 40
"""Levels of a schema that are read; what is deeper allows everything. Google refuses schemas that are far shallower."""
_BOUNDS: Final = {
    "minItems": "min_items",
    "maxItems": "max_items",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minimum": "minimum",
    "maximum": "maximum",
}
_TYPES: Final = frozenset(("string", "number", "integer", "boolean", "array", "object", "null"))


def json_schema(schema: Table, depth: int = 0) -> Mapping[str, Any]:
    """The same as JSON Schema; what is not understood is left out, and so allows more."""
    if depth >= DEEPEST:
        return {}
    made: dict[str, Any] = {}
    if (kind := text(schema.get("type")).lower()) in _TYPES:
        made["type"] = [kind, "null"] if schema.get("nullable") is True else kind
    if isinstance(schema.get("enum"), list) and schema.get("nullable") is not True:
        made["enum"] = schema["enum"]
    if isinstance(schema.get("required"), list):
        made["required"] = [name for name in schema["required"] if isinstance(name, str)]
    if properties := table(schema.get("properties")):
        made["properties"] = {name: json_schema(table(value), depth + 1) for name, value in properties.items()}
    if items := table(schema.get("items")):
        made["items"] = json_schema(items, depth + 1)
    if choices := tables(pick(schema, "anyOf", "any_of")):
        nothing = [{"type": "null"}] if schema.get("nullable") is True else []
        made["anyOf"] = [*(json_schema(choice, depth + 1) for choice in choices), *nothing]
    for name, other in _BOUNDS.items():
        if (bound := _number(pick(schema, name, other))) is not None:
            made[name] = bound
    return made


def _number(value: Any) -> int | float | None:
    """A bound; protobuf writes 64-bit integers as strings."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
