"""The vendor's idea of a value: its type, when two are equal, how a version is ordered, how a dotted path is read.

GrowthBook's rules are JavaScript's: a boolean never equals a number, 1.0 equals 1, a text never equals a number, an object equals
another only with its keys in the same order, and texts are ordered by UTF-16 code units. HOT: called for attributes of requests; raises
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from math import isfinite, isnan
from typing import Any, Final

Test = Callable[[Any], bool]
"""A condition on one value; what is missing is None."""
Reader = Callable[[Any], Any]

TYPES: Final = ("null", "boolean", "number", "string", "array", "object", "unknown", "undefined")
"""Names that `$type` may ask for. The Python SDK never answers `undefined` (JavaScript's missing value): missing is `null`."""
LARGEST_INDEX_DIGITS: Final = 10
"""A JavaScript array has fewer than 2**32 elements."""
ARRAY_KEYS: Final = (1 << 32) - 1
"""Object keys that look like numbers below this come first, in numeric order, in JavaScript."""
FIXED_FROM: Final = 1e-6
FIXED_BELOW: Final = 1e21
"""Between these JavaScript writes a number without an exponent."""
NUMERIC_WIDTH: Final = 5
"""The vendor pads numeric parts of a version to this width with spaces; longer numbers are compared as text."""

_STRIP: Final = re.compile(r"^v|\+.*$")
_SPLIT: Final = re.compile(r"[-.]")


def is_number(value: Any) -> bool:
    """A number to JavaScript: Python's booleans are none."""
    return isinstance(value, int | float) and value is not True and value is not False


def type_name(value: Any) -> str:
    """What `$type` compares with."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list | set):
        return "array"
    return "object" if isinstance(value, dict) else "unknown"


def truthy(value: Any) -> bool:
    """JavaScript's idea of true: an empty list or object is."""
    if value is None or value is False or value == "":
        return False
    return not is_number(value) or (value == value and value != 0)


def number_text(value: float) -> str:
    """A number as JavaScript writes it: of the double nearest to it, the shortest digits that name it."""
    try:
        double = float(value)
    except OverflowError:
        return "Infinity" if value > 0 else "-Infinity"
    if isnan(double):
        return "NaN"
    if not isfinite(double):
        return "Infinity" if double > 0 else "-Infinity"
    if double == 0:
        return "0"
    shortest = repr(double)
    if FIXED_FROM <= abs(double) < FIXED_BELOW:
        return shortest.removesuffix(".0") if "e" not in shortest else format(Decimal(shortest), "f")
    mantissa, _, exponent = shortest.partition("e")
    return f"{mantissa}e{int(exponent):+d}"


def version_text(value: str | float) -> str:
    """A version so written that comparing texts compares versions; a release sorts after its pre-releases."""
    text = value if isinstance(value, str) else number_text(value)
    parts = _SPLIT.split(_STRIP.sub("", text or "0"))
    if len(parts) == 3:
        parts.append("~")
    return "-".join([part.rjust(NUMERIC_WIDTH) if part.isdigit() else part for part in parts])


def equals(wanted: Any) -> Test:
    """Equality with a literal of the document, of every depth. `wanted` holds no number that is not finite."""
    if wanted is None or wanted is True or wanted is False:
        return lambda value: value is wanted
    if isinstance(wanted, list):
        return _equals_list(tuple(equals(item) for item in wanted))
    if isinstance(wanted, dict):
        return _equals_object(key_order(wanted), tuple(equals(wanted[key]) for key in key_order(wanted)))
    if isinstance(wanted, str):
        return lambda value: isinstance(value, str) and value == wanted
    return lambda value: is_number(value) and bool(value == wanted)


def _equals_list(items: tuple[Test, ...]) -> Test:
    def test(value: Any) -> bool:
        if not isinstance(value, list) or len(value) != len(items):
            return False
        return all(item(_as_json(inner)) for item, inner in zip(items, value, strict=True))

    return test


def _equals_object(keys: list[str], items: tuple[Test, ...]) -> Test:
    def test(value: Any) -> bool:
        if not isinstance(value, dict) or key_order(value) != keys:
            return False
        return all(item(_as_json(value[key])) for key, item in zip(keys, items, strict=True))

    return test


def _as_json(value: Any) -> Any:
    """JSON has no NaN and no Infinity: inside a list or an object the vendor compares them as null."""
    return None if isinstance(value, float) and not isfinite(value) else value


def key_order(value: dict[Any, Any]) -> list[Any]:
    """Keys as JavaScript orders them: array indices by number, then the others as they were written."""
    indices = [key for key in value if isinstance(key, str) and 0 <= array_index(key) < ARRAY_KEYS]
    if not indices:
        return list(value)
    numbers = set(indices)
    return sorted(indices, key=int) + [key for key in value if key not in numbers]


def array_index(segment: str) -> int:
    """The index that a path's segment names ("0", "12"; not "01"), or -1."""
    digits = len(segment) <= LARGEST_INDEX_DIGITS and segment.isascii() and segment.isdigit()
    return int(segment) if digits and (segment == "0" or segment[0] != "0") else -1


def reader(path: str, root: bool) -> Reader:
    """Reads a dotted path from the attributes (`root`) or from an element or value. What is not there is None."""
    first, *others = path.split(".")
    steps = tuple((segment, array_index(segment)) for segment in others)
    if not root:
        every = ((first, array_index(first)), *steps)
        return lambda value: walk(value, every)
    if not steps:
        return lambda attributes: attributes.get(first)
    return lambda attributes: walk(attributes.get(first), steps)


def walk(value: Any, steps: tuple[tuple[str, int], ...]) -> Any:
    """Goes down the steps; a list has its indices and `length`."""
    for segment, index in steps:
        if isinstance(value, dict):
            value = value.get(segment)
        elif isinstance(value, list):
            value = _in_list(value, segment, index)
        else:
            return None
    return value


def _in_list(value: list[Any], segment: str, index: int) -> Any:
    if segment == "length":
        return len(value)
    return value[index] if 0 <= index < len(value) else None
