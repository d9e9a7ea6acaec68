"""The operations of JSON logic whose arguments are all evaluated first. Each takes compiled arguments and gives the compiled operation.

As in panzi-json-logic 1.0.1: an argument that is not given is nothing, arguments too many are evaluated and ignored, and what fails
(division by 0, a number too large) fails the whole evaluation.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from math import isnan
from typing import Any, Final

from extproc.flags.flagd.coerce import NAN, equals, ordered, to_bool, to_number, to_string
from extproc.flags.flagd.expression import NOTHING, Expression, Run, after

Build = Callable[[Sequence[Expression]], Run]


def given(arguments: Sequence[Expression], index: int) -> Expression:
    """An argument, or nothing."""
    return arguments[index] if index < len(arguments) else NOTHING


def _equal(negated: bool) -> Build:
    def build(arguments: Sequence[Expression]) -> Run:
        left, right = given(arguments, 0).run, given(arguments, 1)
        if type(right.value) is str:
            # The usual case, a variable against a text, without asking for types on both sides.
            wanted = right.value

            def against_text(data: Any) -> bool:
                value = left(data)
                return (value == wanted if type(value) is str else equals(value, wanted)) is not negated

            return after(arguments[2:], against_text)
        other = right.run
        return after(arguments[2:], lambda data: equals(left(data), other(data)) is not negated)

    return build


def _same(compare: Callable[[Any, Any], Any]) -> Build:
    def build(arguments: Sequence[Expression]) -> Run:
        left, right = given(arguments, 0).run, given(arguments, 1).run
        return after(arguments[2:], lambda data: compare(left(data), right(data)))

    return build


def _order(before: Callable[[Any, Any], bool]) -> Build:
    def build(arguments: Sequence[Expression]) -> Run:
        a, b, c = (given(arguments, index).run for index in range(3))

        def between(data: Any) -> bool:
            low, middle, high = a(data), b(data), c(data)
            return ordered(low, middle, before) and (high is None or ordered(middle, high, before))

        if len(arguments) > 2:
            return after(arguments[3:], between)
        return lambda data: ordered(a(data), b(data), before)

    return build


def _truth(negated: bool) -> Build:
    def build(arguments: Sequence[Expression]) -> Run:
        only = given(arguments, 0).run
        return after(arguments[1:], lambda data: to_bool(only(data)) is not negated)

    return build


def _total(start: int, combine: Callable[[Any, Any], Any]) -> Build:
    def build(arguments: Sequence[Expression]) -> Run:
        runs = tuple(argument.run for argument in arguments)

        def total(data: Any) -> Any:
            value: Any = start
            for run in runs:
                value = combine(value, to_number(run(data)))
            return value

        return total

    return build


def _extreme(choose: Callable[[list[Any]], Any]) -> Build:
    def build(arguments: Sequence[Expression]) -> Run:
        runs = tuple(argument.run for argument in arguments)
        if not runs:
            return lambda _: NAN
        return lambda data: choose([to_number(run(data)) for run in runs])

    return build


def _pair(combine: Callable[[Any, Any], Any]) -> Build:
    def build(arguments: Sequence[Expression]) -> Run:
        left, right = given(arguments, 0).run, given(arguments, 1).run
        return after(arguments[2:], lambda data: combine(to_number(left(data)), to_number(right(data))))

    return build


def _minus(arguments: Sequence[Expression]) -> Run:
    left, right = given(arguments, 0).run, given(arguments, 1).run

    def minus(data: Any) -> Any:
        value, other = left(data), right(data)
        return -to_number(value) if other is None else to_number(value) - to_number(other)

    return after(arguments[2:], minus)


def _contains(arguments: Sequence[Expression]) -> Run:
    needle, haystack = given(arguments, 0).run, given(arguments, 1)
    if haystack.items is not None and all(item.known for item in haystack.items):
        listed = [item.value for item in haystack.items]
        values = frozenset(listed)

        def in_values(data: Any) -> bool:
            value = needle(data)
            return value in values if type(value) is str else value in listed

        return after(arguments[2:], in_values)
    run = haystack.run

    def contains(data: Any) -> bool:
        value, among = needle(data), run(data)
        if isinstance(among, list):
            return value in among
        return isinstance(among, str) and to_string(value) in among

    return after(arguments[2:], contains)


def _cat(arguments: Sequence[Expression]) -> Run:
    runs = tuple(argument.run for argument in arguments)
    return lambda data: "".join([to_string(run(data)) for run in runs])


def _merge(arguments: Sequence[Expression]) -> Run:
    runs = tuple(argument.run for argument in arguments)

    def merge(data: Any) -> list[Any]:
        merged: list[Any] = []
        for run in runs:
            value = run(data)
            if isinstance(value, list):
                merged.extend(value)
            else:
                merged.append(value)
        return merged

    return merge


def _substr(arguments: Sequence[Expression]) -> Run:
    string, start, length = (given(arguments, index).run for index in range(3))
    return after(arguments[3:], lambda data: part(to_string(string(data)), to_number(start(data)), length(data)))


def part(string: str, start: int | float, length: Any) -> str:
    """`substr`: characters of a text (code points, not UTF-16 units). Before its beginning is its beginning; a negative length counts
    from its end."""
    size = len(string)
    if isnan(start):
        first = 0
    elif start < 0:
        first = 0 if -start >= size else size - int(-start)
    else:
        first = min(int(start), size)
    if length is None:
        return string[first:]
    count = to_number(length)
    if isnan(count):
        return ""
    count = int(count)
    return string[first : max(size + count, first) if count < 0 else first + count]


BUILDERS: Final[Mapping[str, Build]] = {
    "==": _equal(negated=False),
    "!=": _equal(negated=True),
    "===": _same(operator.eq),
    "!==": _same(operator.ne),
    "<": _order(operator.lt),
    "<=": _order(operator.le),
    ">": _order(operator.gt),
    ">=": _order(operator.ge),
    "!": _truth(negated=True),
    "!!": _truth(negated=False),
    "+": _total(0, operator.add),
    "*": _total(1, operator.mul),
    "-": _minus,
    "/": _pair(operator.truediv),
    "%": _pair(operator.mod),
    "min": _extreme(min),
    "max": _extreme(max),
    "in": _contains,
    "cat": _cat,
    "merge": _merge,
    "substr": _substr,
}
