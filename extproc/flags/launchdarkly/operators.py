"""The operators: what a clause's values must be, and the test that they make together. A test is true where any one value matches.

Values are parsed once, at load. What the attribute is must be looked at per request; a type that the operator does not compare is no
match. What raises here raises in the SDK too, which then gives the default: whole numbers too large for a float.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from semver import Version

Test = Callable[[Any], bool]
"""An attribute's value (never None, except inside of a list) -> does it match."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Operator(NamedTuple):
    accepts: str
    """What its values must be, in words."""
    parse: Callable[[Any], Any]
    """A value of the clause, ready to compare. Raises ValueError where the SDK could never match it."""
    test: Callable[[Sequence[Any]], Test]
    """The test that all values make, at least one."""


def is_number(value: object) -> bool:
    """int or float; a boolean is no number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _never(_value: Any) -> bool:
    return False


# in -----------------------------------------------------------------------------------------------------------------------------------


def _any_of(values: Sequence[Any]) -> Test:
    """Equality, where a boolean never equals a number (Python alone would say that True is 1)."""
    texts = frozenset(value for value in values if isinstance(value, str))
    # Not a number equals nothing, itself included; a set would find it by identity.
    numbers = frozenset(value for value in values if is_number(value) and value == value)

    def test(value: Any) -> bool:
        kind = type(value)
        if kind is str:
            return value in texts
        if kind is int or kind is float:
            return value in numbers
        boolean = isinstance(value, bool)
        return any(isinstance(one, bool) == boolean and value == one for one in values)

    return test


# text ---------------------------------------------------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("it is no string")
    return value


def _starts(values: Sequence[str]) -> Test:
    prefixes = tuple(values)
    return lambda value: isinstance(value, str) and value.startswith(prefixes)


def _ends(values: Sequence[str]) -> Test:
    suffixes = tuple(values)
    return lambda value: isinstance(value, str) and value.endswith(suffixes)


def _contains(values: Sequence[str]) -> Test:
    if len(values) == 1:
        part = values[0]
        return lambda value: isinstance(value, str) and part in value
    return lambda value: isinstance(value, str) and any(part in value for part in values)


def _regex(value: Any) -> re.Pattern[str]:
    try:
        return re.compile(_text(value))
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _matches(values: Sequence[re.Pattern[str]]) -> Test:
    if len(values) == 1:
        search = values[0].search
        return lambda value: isinstance(value, str) and search(value) is not None
    return lambda value: isinstance(value, str) and any(one.search(value) is not None for one in values)


# numbers and times: below any value is below the largest ------------------------------------------------------------------------------


def _number(value: Any) -> float:
    if not is_number(value):
        raise ValueError("it is no number")
    try:
        number = float(value)
    except OverflowError as error:
        raise ValueError("it is too large") from error
    if not math.isfinite(number):
        raise ValueError("it is not finite")
    return number


def _less(values: Sequence[float]) -> Test:
    limit = max(values)
    return lambda value: is_number(value) and float(value) < limit


def _less_or_equal(values: Sequence[float]) -> Test:
    limit = max(values)
    return lambda value: is_number(value) and float(value) <= limit


def _greater(values: Sequence[float]) -> Test:
    limit = min(values)
    return lambda value: is_number(value) and float(value) > limit


def _greater_or_equal(values: Sequence[float]) -> Test:
    limit = min(values)
    return lambda value: is_number(value) and float(value) >= limit


def milliseconds(value: Any) -> float | None:
    """Milliseconds since 1970 of a number (which is that already) or a text with date, time and offset; None for anything else."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(f"{value[:-1]}+00:00" if value.endswith(("Z", "z")) else value)
        except ValueError:
            return None
        return None if moment.tzinfo is None else (moment - _EPOCH).total_seconds() * 1000.0
    return float(value) if is_number(value) else None


def _time(value: Any) -> float:
    if is_number(value):
        return _number(value)
    moment = milliseconds(value)
    if moment is None:
        raise ValueError("it is no time with an offset")
    return moment


def _before(values: Sequence[float]) -> Test:
    limit = max(values)

    def test(value: Any) -> bool:
        moment = milliseconds(value)
        return moment is not None and moment < limit

    return test


def _after(values: Sequence[float]) -> Test:
    limit = min(values)

    def test(value: Any) -> bool:
        moment = milliseconds(value)
        return moment is not None and moment > limit

    return test


# versions -----------------------------------------------------------------------------------------------------------------------------

_SHORT_VERSION: Final = re.compile("([0-9.]*)(.*)")
"""The numbers in front, and the rest of the first line: what lies behind a line break is lost, as in the SDK."""


_PLAIN_VERSION: Final = re.compile(r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})")
"""Three numbers and nothing else: most versions there are, compared here without the library, which takes far longer."""


def version(value: Any) -> Version | None:
    """A semantic version; one or two missing parts are zero (`2`, `2.1-beta`). None for anything else."""
    if not isinstance(value, str):
        return None
    for _ in range(3):
        try:
            return Version.parse(value)
        except ValueError:
            value = _SHORT_VERSION.sub(r"\1.0\2", value.partition("\n")[0], count=1)
    return None


def _version(value: Any) -> Version:
    parsed = version(value)
    if parsed is None:
        raise ValueError("it is no semantic version")
    return parsed


def _compared(values: Sequence[Version], holds: Callable[[int], bool]) -> Test:
    # A version with a pre-release comes before the same numbers without.
    cores = tuple(((one.major, one.minor, one.patch), 1 if one.prerelease else 0) for one in values)

    def test(value: Any) -> bool:
        plain = _PLAIN_VERSION.fullmatch(value) if isinstance(value, str) else None
        if plain is not None:
            core = (int(plain[1]), int(plain[2]), int(plain[3]))
            return any(holds((core > other) - (core < other) or released) for other, released in cores)
        given = version(value)
        return given is not None and any(holds(given.compare(one)) for one in values)

    return test


# the table ----------------------------------------------------------------------------------------------------------------------------

OPERATORS: Final[Mapping[str, Operator]] = {
    "in": Operator("any value", lambda value: value, _any_of),
    "startsWith": Operator("a string", _text, _starts),
    "endsWith": Operator("a string", _text, _ends),
    "contains": Operator("a string", _text, _contains),
    "matches": Operator("a regular expression of Python", _regex, _matches),
    "lessThan": Operator("a number", _number, _less),
    "lessThanOrEqual": Operator("a number", _number, _less_or_equal),
    "greaterThan": Operator("a number", _number, _greater),
    "greaterThanOrEqual": Operator("a number", _number, _greater_or_equal),
    "before": Operator("a time (RFC 3339, or milliseconds since 1970)", _time, _before),
    "after": Operator("a time (RFC 3339, or milliseconds since 1970)", _time, _after),
    "semVerEqual": Operator("a semantic version", _version, lambda values: _compared(values, lambda order: order == 0)),
    "semVerLessThan": Operator("a semantic version", _version, lambda values: _compared(values, lambda order: order < 0)),
    "semVerGreaterThan": Operator("a semantic version", _version, lambda values: _compared(values, lambda order: order > 0)),
}
"""Every operator of the SDK but segmentMatch, which `clauses` knows."""


def test_of(operator: Operator, values: Sequence[Any]) -> Test:
    """The test that parsed values make; none of them, no match."""
    return operator.test(values) if values else _never
