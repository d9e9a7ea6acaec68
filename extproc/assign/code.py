"""Functions that we write and Python compiles: all conditions of a Spec in one, with no call for each.

A call costs more than what most conditions do, and 20 cohorts of closures were most of a decision. The text is made of the fixed pieces
here and in `selectors`. What a Spec says (values, names of headers, prefixes) is never text: it is a constant that the text calls c0,
c1, ... A fact of the request that the text needs is read once, before everything, and called f0, f1, ...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from extproc.domain import Subject

Matcher = Callable[[Subject, bytes, float], bool]
"""(request, id of its unit or empty, Unix time or 0 where nothing depends on it) -> True where it is met."""
Seat = Callable[[Subject, bytes, float], tuple[int | None, int]]
"""(request, unit, now) -> place of the first cohort that matches, ~place (below 0) if that one excludes it, None where none matches; and
where the unit stands on the ring, -1 where that was not asked."""


class Draft:
    """One function being written: what its expressions may name besides `subject`, `unit` and `now`."""

    def __init__(self) -> None:
        self._constants: dict[str, Any] = {}
        self._facts: dict[str, str] = {}

    def constant(self, value: object) -> str:
        """The name by which the text speaks of a value."""
        name = f"c{len(self._constants)}"
        self._constants[name] = value
        return name

    def fact(self, key: str) -> str:
        """The name by which the text speaks of what the request has under a key: bytes, or None where it has nothing."""
        return self._facts.setdefault(key, f"f{len(self._facts)}")

    def value(self, expression: str) -> Any:
        """A function of (subject, unit, now) that returns the value of an expression."""
        return self._compiled(f"    return {expression}\n")

    def seat(self, cohorts: Sequence[tuple[str | None, str | None]], point: str) -> Seat:
        """A function that finds the first cohort. Of each, in the order written: the expressions of who is in (None: everybody) and of
        who is excluded (None: nobody). `point`: where the unit stands."""
        lines: list[str] = []
        for place, (matches, excludes) in enumerate(cohorts):
            found = f"return {place}, {point}" if excludes is None else f"return ({~place}, -1) if {excludes} else ({place}, {point})"
            lines.append(f"    {found}\n" if matches is None else f"    if {matches}: {found}\n")
        written: Seat = self._compiled("".join(lines) + "    return None, -1\n")
        return written

    def _compiled(self, body: str) -> Any:
        names = dict(self._constants)
        text = "def written(subject, unit=b'', now=0.0):\n"
        for key, fact in self._facts.items():
            names[f"k{fact}"] = key
            text += f"    {fact} = subject.get(k{fact})\n"
        exec(text + body, names)  # noqa: S102 - our own text: what a Spec says is among `names`
        return names["written"]
