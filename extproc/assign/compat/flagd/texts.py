"""flagd's own comparisons of texts and versions: starts_with, ends_with, sem_ver.

An argument of another kind, or no version, answers nothing (which is false to a condition and the default variant to a flag).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from semver import Version

from extproc.assign.compat.flagd.expression import Expression, Run

Compare = Callable[[Version, Version], bool]

COMPARISONS: Final[Mapping[str, Compare]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "^": lambda one, other: one.major == other.major,
    "~": lambda one, other: one.major == other.major and one.minor == other.minor,
}
"""^ and ~ compare major, or major and minor, and nothing else: 1.0.0 is ^ 1.9.0."""


def version_of(value: Any) -> Version | None:
    """A version, or None. A leading v is left out; 1 and 1.2 are 1.0.0 and 1.2.0; numbers are taken as they are written."""
    written = str(value)
    if written.startswith(("v", "V")):
        written = written[1:]
    numbers = written.split("-", 1)[0].split("+", 1)[0]
    dots = numbers.count(".")
    if dots < 2:
        written = numbers + ".0" * (2 - dots) + written[len(numbers) :]
    try:
        return Version.parse(written)
    except ValueError:
        return None


def compare_versions(arguments: Sequence[Expression]) -> Run:
    """sem_ver of three arguments; versions and comparison that the rule gives are parsed at load."""
    one, how, other = arguments
    left, right = _version(one), _version(other)
    compare = _comparison(how)

    def compare_them(data: Any) -> bool | None:
        first, chosen, second = left(data), compare(data), right(data)
        return None if first is None or second is None or chosen is None else chosen(first, second)

    return compare_them


def _version(argument: Expression) -> Callable[[Any], Version | None]:
    run = argument.run
    if argument.known:
        version = version_of(argument.value)
        return lambda _: version
    return lambda data: version_of(run(data))


def _comparison(argument: Expression) -> Callable[[Any], Compare | None]:
    run = argument.run
    if argument.known:
        chosen = COMPARISONS.get(argument.value)
        return lambda _: chosen

    def choose(data: Any) -> Compare | None:
        name = run(data)
        return COMPARISONS.get(name) if isinstance(name, str) else None

    return choose


def compare_ends(compare: Callable[[str, str], bool]) -> Callable[[Sequence[Expression]], Run]:
    """starts_with or ends_with of two arguments."""

    def build(arguments: Sequence[Expression]) -> Run:
        whole, end = (argument.run for argument in arguments)

        def compare_them(data: Any) -> bool | None:
            string, wanted = whole(data), end(data)
            return compare(string, wanted) if isinstance(string, str) and isinstance(wanted, str) else None

        return compare_them

    return build
