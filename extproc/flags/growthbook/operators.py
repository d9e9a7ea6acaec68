"""One attribute against one operand: the vendor's operators that look at nothing else. Built once, called per request.

A builder takes the operand and returns the test; it raises ValueError with the reason where the operand makes no sense. The vendor's
SDK would answer such a condition with the same word for everybody, silently; here it is refused at load.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from extproc.flags.growthbook.reading import is_finite, is_plain, shown
from extproc.flags.growthbook.values import TYPES, Test, equals, is_number, type_name, version_text

Builder = Callable[[Any], Test]
Compare = Callable[[Any, Any], bool]


def never(_value: Any) -> bool:
    """No value passes."""
    return False


def always(_value: Any) -> bool:
    """Every value passes."""
    return True


def negated(test: Test) -> Test:
    """Passes exactly what `test` does not."""
    return lambda value: not test(value)


def _equal(operand: Any) -> Test:
    """Lists and objects never pass: to JavaScript two of them are the same only if they are one."""
    if not is_plain(operand):
        raise ValueError(f"wants a value of JSON, not {shown(operand)}")
    return never if isinstance(operand, list | dict) else equals(operand)


def _ordered(compare: Compare) -> Builder:
    def build(operand: Any) -> Test:
        if isinstance(operand, str):
            return _ordered_text(compare, operand)
        if not is_finite(operand):
            raise ValueError(f"wants a number or a text, not {shown(operand)}")
        return lambda value: is_number(value) and compare(value, operand)

    return build


def _ordered_text(compare: Compare, operand: str) -> Test:
    """JavaScript orders texts by UTF-16 code units; for ASCII that is Python's own order."""
    plain = operand.isascii()
    units = operand.encode("utf-16-be", "surrogatepass")

    def test(value: Any) -> bool:
        if not isinstance(value, str):
            return False
        if plain and value.isascii():
            return compare(value, operand)
        return compare(value.encode("utf-16-be", "surrogatepass"), units)

    return test


def _version(compare: Compare) -> Builder:
    """Text against text, number against number; anything else passes `$vne` only."""
    otherwise = compare is operator.ne

    def build(operand: Any) -> Test:
        if isinstance(operand, str):
            wanted = version_text(operand)
            return lambda value: compare(version_text(value), wanted) if isinstance(value, str) else otherwise
        if not is_finite(operand):
            raise ValueError(f"wants a version as text or a number, not {shown(operand)}")
        wanted = version_text(operand)
        return lambda value: compare(version_text(value), wanted) if is_number(value) else otherwise

    return build


def member(values: Iterable[Any]) -> Test:
    """The value is one of `values`, or a list that shares one with them. A missing attribute is a member where null is listed."""
    scalars = [value for value in values if not isinstance(value, list | dict)]
    booleans = frozenset(value for value in scalars if isinstance(value, bool))
    others = frozenset(value for value in scalars if not isinstance(value, bool))

    def one(value: Any) -> bool:
        if value is True or value is False:
            return value in booleans
        return (value is None or isinstance(value, str | int | float)) and value in others

    return lambda value: any(map(one, value)) if isinstance(value, list) else one(value)


def _folded(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _folded_member(values: Iterable[Any]) -> Test:
    """`member` in lower case."""
    inner = member([_folded(value) for value in values])
    return lambda value: inner([_folded(item) for item in value] if isinstance(value, list) else _folded(value))


def _listed(build: Callable[[list[Any]], Test]) -> Builder:
    def checked(operand: Any) -> Test:
        if not isinstance(operand, list) or not all(map(is_plain, operand)):
            raise ValueError(f"wants a list, not {shown(operand)}")
        return build(operand)

    return checked


def _matching(flags: int) -> Builder:
    """Python's `re.search`, as the vendor's Python SDK does; only a text can match."""

    def build(operand: Any) -> Test:
        if not isinstance(operand, str):
            raise ValueError(f"wants a pattern as text, not {shown(operand)}")
        try:
            search = re.compile(operand, flags).search
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"has a pattern that Python cannot read: {shown(operand)} ({error})") from None
        return lambda value: isinstance(value, str) and search(value) is not None

    return build


def _exists(operand: Any) -> Test:
    if not isinstance(operand, bool):
        raise ValueError(f"wants true or false, not {shown(operand)}")
    return (lambda value: value is not None) if operand else (lambda value: value is None)


def _type(operand: Any) -> Test:
    if operand not in TYPES:
        raise ValueError(f"wants one of {', '.join(TYPES)}, not {shown(operand)}")
    return lambda value: type_name(value) == operand


def _not(build: Builder) -> Builder:
    return lambda operand: negated(build(operand))


OPERATORS: Final[dict[str, Builder]] = {
    "$eq": _equal,
    "$ne": _not(_equal),
    "$lt": _ordered(operator.lt),
    "$lte": _ordered(operator.le),
    "$gt": _ordered(operator.gt),
    "$gte": _ordered(operator.ge),
    "$veq": _version(operator.eq),
    "$vne": _version(operator.ne),
    "$vlt": _version(operator.lt),
    "$vlte": _version(operator.le),
    "$vgt": _version(operator.gt),
    "$vgte": _version(operator.ge),
    "$in": _listed(member),
    "$nin": _not(_listed(member)),
    "$ini": _listed(_folded_member),
    "$nini": _not(_listed(_folded_member)),
    "$regex": _matching(0),
    "$regexi": _matching(re.IGNORECASE),
    "$notRegex": _not(_matching(0)),
    "$notRegexi": _not(_matching(re.IGNORECASE)),
    "$exists": _exists,
    "$type": _type,
}
"""Operator -> builder of its test."""
