"""The operator's own patterns, by name. RE2 matches them (library `google-re2`, by RE2's authors): in time linear in the text whatever the
pattern, so none can be catastrophic, and no clock is needed. What RE2 cannot promise that for, lookaround and references back, it refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

import re2

from extproc.errors import Problem
from extproc.judge.redact.finds import CUT, MARK, Find, Kind

MOST: Final = 64
"""Patterns: each reads every text once more."""
LONGEST: Final = 1_000
"""Characters of a pattern."""
MEMORY: Final = 1 << 20
"""Bytes that a compiled pattern may take; `(a{1000}){1000}` takes more than any machine has."""

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_PROBES: Final = ("", "a", "A 1", "a-b", "x@y.z", "\n")
"""Texts in which a pattern that can match nothing at all shows it."""


def problems_of(patterns: Mapping[str, str], path: str = "redact") -> list[Problem]:
    """Everything that is wrong with patterns of a Spec; `path`: of their block."""
    problems: list[Problem] = []
    if len(patterns) > MOST:
        problems.append(Problem("redact.too-many", path, f"{len(patterns)} patterns, and at most {MOST} are read", "Join some with |."))
    for name, pattern in patterns.items():
        problems += _problems_of(name, pattern, f"{path}.{name}")
    return problems


def compiled(patterns: Mapping[str, str]) -> tuple[tuple[str, Pattern], ...]:
    """(name, matcher) of patterns without Problems."""
    return tuple((name, Pattern(pattern)) for name, pattern in patterns.items())


class Pattern:
    """One pattern. Raises re2.error where it does not compile."""

    def __init__(self, pattern: str) -> None:
        options = re2.Options()
        options.log_errors = False
        options.max_mem = MEMORY
        self._pattern = re2.compile(pattern, options)

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Start and end of each match that is not empty."""
        for found in self._pattern.finditer(text):
            if found.end() > found.start():
                yield found.start(), found.end()

    def is_empty_in(self, text: str) -> bool:
        """It matches nothing at all somewhere."""
        return any(found.end() == found.start() for found in self._pattern.finditer(text))


def finds(patterns: tuple[tuple[str, Pattern], ...], text: str) -> Iterator[Find]:
    """What they find; a match of nothing but markers is none."""
    for name, pattern in patterns:
        for start, end in pattern.spans(text):
            if text[start:end].strip(MARK).strip():
                yield Find(start, end, name)


def _problems_of(name: str, pattern: str, path: str) -> Iterator[Problem]:
    if _NAME.fullmatch(name) is None:
        yield Problem(
            "redact.name", path, f"{name!r} is no name for a marker", "Small letters, digits and hyphens, a letter first, up to 32."
        )
    elif name in (*Kind, CUT):
        yield Problem("redact.name", path, f"{name!r} is a marker of extproc's own", "Choose another name.")
    if len(pattern) > LONGEST:
        yield Problem(
            "redact.too-long", path, f"the pattern has {len(pattern)} characters, and may have {LONGEST}", "Split it under two names."
        )
        return
    try:
        tried = Pattern(pattern)
    except (re2.error, UnicodeEncodeError) as error:
        said = error.args[0].decode("utf-8", "replace") if isinstance(error, re2.error) and isinstance(error.args[0], bytes) else str(error)
        yield Problem("redact.pattern", path, f"{pattern!r} is no pattern of RE2: {said}", "RE2 has no lookaround and no references back.")
        return
    if any(tried.is_empty_in(probe) for probe in _PROBES):
        yield Problem("redact.empty", path, f"{pattern!r} matches nothing at all, which is everywhere", "Ask for at least one character.")
