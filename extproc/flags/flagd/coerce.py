"""What flagd's JSON logic takes for a number, a text, true or equal. HOT.

The coercions of panzi-json-logic 1.0.1, the library under flagd's Python SDK. They are not JavaScript's, and the tests hold each:
* an empty text is no number (JavaScript: 0); "nan", "infinity", "1_000" and digits of other scripts are numbers, as for Python's float;
* nothing (null) equals 0 and false when it is compared with a number, and nothing else but itself;
* true is written "True" and false "False", as they are integers to that library; a float is written with 15 digits;
* two lists, or two objects, are equal to `==` only where they are the same one; to `===` where their contents are.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isnan
from typing import Any, Final

Number = int | float

NAN: Final = float("nan")
"""One object, as in the library: `in` on a list asks for identity first."""
INFINITIES: Final = frozenset({"inf", "-inf", "+inf"})
"""Texts that Python's float would take and the library does not."""


def to_number(value: Any) -> Number:
    """A number, or NaN. TypeError where the value is none of JSON's."""
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        if value.strip().lower() in INFINITIES:
            return NAN
        try:
            return float(value)
        except ValueError:
            return NAN
    if value is None:
        return 0
    if isinstance(value, list):
        if not value:
            return 0
        return NAN if len(value) > 1 else to_number(value[0])
    if isinstance(value, dict):
        return NAN
    raise TypeError(type(value).__name__)


def to_string(value: Any) -> str:
    """A text; lists are joined with commas, without brackets."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.15g}"
    if value is None:
        return "null"
    if isinstance(value, list):
        return ",".join([to_string(item) for item in value])
    if isinstance(value, dict):
        return "[object Object]"
    return str(value)


def to_bool(value: Any) -> bool:
    """True but for nothing, false, 0, NaN, the empty text and the empty list; an empty object is true."""
    if value is True or value is False:
        return bool(value)
    if isinstance(value, float):
        return not isnan(value) and bool(value)
    if isinstance(value, str | int | list):
        return bool(value)
    return value is not None


def equals(a: Any, b: Any) -> bool:
    """`==`: equal after coercion."""
    if type(a) is type(b):
        return a is b if isinstance(a, list | dict) else bool(a == b)
    if isinstance(a, int | float) or isinstance(b, int | float):
        return to_number(a) == to_number(b)
    if a is None or b is None:
        return False
    if isinstance(a, str):
        return a == to_string(b)
    if isinstance(b, str):
        return to_string(a) == b
    return False


def ordered(a: Any, b: Any, before: Callable[[Any, Any], bool]) -> bool:
    """`before` on what two values are compared as: numbers if one is a number, else texts if one is a text, else numbers."""
    if isinstance(a, int | float) or isinstance(b, int | float):
        return before(to_number(a), to_number(b))
    if isinstance(a, str) or isinstance(b, str):
        return before(to_string(a), to_string(b))
    return before(to_number(a), to_number(b))
