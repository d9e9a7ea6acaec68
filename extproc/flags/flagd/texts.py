"""flagd's own comparisons of texts and versions: starts_with, ends_with, sem_ver.

An argument of another kind, or no version, answers nothing (which is false to a condition and the default variant to a flag).
A version is parsed into a tuple that sorts as Semantic Versioning 2.0.0 says; flagd's provider asks the semver package, which takes ten
microseconds for the same.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from extproc.flags.flagd.expression import Expression, Run

Version = tuple[int, int, int, tuple[Any, ...]]
"""Major, minor, patch, and what sorts pre-releases; build metadata does not count."""
Compare = Callable[[Version, Version], bool]

NUMBER: Final = r"(0|[1-9][0-9]*)"
LABEL: Final = r"(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
VERSION: Final = re.compile(rf"{NUMBER}\.{NUMBER}\.{NUMBER}(?:-({LABEL}(?:\.{LABEL})*))?(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?")
"""The grammar of semver.org."""
RELEASE: Final = (1,)
"""Sorts above every pre-release."""

COMPARISONS: Final[Mapping[str, Compare]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "^": lambda one, other: one[0] == other[0],
    "~": lambda one, other: one[:2] == other[:2],
}
"""^ and ~ compare major, or major and minor, and nothing else: 1.0.0 is ^ 1.9.0."""


def version_of(value: Any) -> Version | None:
    """A version, or None. A leading v is left out; 1 and 1.2 are 1.0.0 and 1.2.0; numbers are taken as they are written."""
    written = str(value)
    if written.startswith(("v", "V")):
        written = written[1:]
    found = VERSION.fullmatch(written)
    if found is None:
        numbers = written.split("-", 1)[0].split("+", 1)[0]
        dots = numbers.count(".")
        found = VERSION.fullmatch(numbers + ".0" * (2 - dots) + written[len(numbers) :]) if dots < 2 else None
        if found is None:
            return None
    major, minor, patch, labels = found.groups()
    try:
        return int(major), int(minor), int(patch), RELEASE if labels is None else (0, *map(_label, labels.split(".")))
    except ValueError:
        # More digits than Python converts: no version to flagd either.
        return None


def _label(label: str) -> tuple[int, int, str]:
    # Numbers sort below texts, and by their value: of two without leading zeros, the longer is the larger.
    return (0, len(label), label) if label.isdigit() else (1, 0, label)


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
