"""A field of the vendor's document, read and checked: what is wrong becomes a Problem, and reading goes on to find the next.

null is the same as absent, as it is to the vendor's SDK; where it is not, `given` refuses it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from math import isfinite
from typing import Any, Final

from extproc.errors import Problem

LONGEST_SHOWN: Final = 60
"""Characters of an offending value that a message shows."""

MALFORMED: Final = "Correct it in GrowthBook, or fetch the payload again from the SDK endpoint."


class Problems:
    """All that is wrong with a flag, in the order in which it was found."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, identity: str, path: str, message: str, hint: str = MALFORMED) -> None:
        problem = Problem(identity, path, message, hint)
        # What several places lead to (a saved group) is told once.
        if problem not in self.found:
            self.found.append(problem)

    def malformed(self, path: str, wanted: str, value: Any) -> None:
        self.add("flag.malformed", path, f"this wants {wanted}, not {shown(value)}")


def shown(value: Any) -> str:
    """A value as a message shows it, cut where it is long."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested without end, or an integer of thousands of digits
        return f"{type(value).__name__} too large to show"
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."


def meant(word: str, known: Collection[str]) -> str:
    """`Did you mean ...? ` for a word that is not known; empty where nothing is near."""
    near = get_close_matches(word, known, n=1)
    return f"Did you mean {near[0]!r}? " if near else ""


def is_finite(value: Any) -> bool:
    """A number that fits a double: JSON has no others."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return isfinite(value)
    except OverflowError:
        return False


def is_plain(value: Any, depth: int = 20) -> bool:
    """A value that JSON can write, with lists and objects to a depth that no flag needs to exceed."""
    if value is None or isinstance(value, str | bool):
        return True
    if isinstance(value, list):
        return depth > 0 and all(is_plain(item, depth - 1) for item in value)
    if isinstance(value, dict):
        return depth > 0 and all(isinstance(key, str) and is_plain(item, depth - 1) for key, item in value.items())
    return is_finite(value)


class Fields:
    """The fields of one object of the document."""

    def __init__(self, problems: Problems, path: str, fields: Mapping[str, Any]) -> None:
        self.problems = problems
        self.path = path
        self.fields = fields

    def known(self, keys: Collection[str]) -> None:
        """A key that nobody knows is refused: a newer GrowthBook may give it a meaning."""
        for key in self.fields:
            if key not in keys:
                hint = meant(str(key), keys) + "This is no field of an SDK payload as of GrowthBook SDK 4.0.0."
                self.problems.add("flag.unknown-key", f"{self.path}.{key}", f"{shown(key)} is not known", hint)

    def given(self, *keys: str) -> None:
        """Fields that may be absent but not null: the vendor's SDK fails on null there, or answers differently."""
        for key in keys:
            if key in self.fields and self.fields[key] is None:
                self.problems.malformed(f"{self.path}.{key}", "a value", None)

    def text(self, key: str, otherwise: str) -> str:
        value = self.fields.get(key)
        if value is None or isinstance(value, str):
            return otherwise if value is None else value
        self.problems.malformed(f"{self.path}.{key}", "a text", value)
        return otherwise

    def number(self, key: str) -> float | None:
        value = self.fields.get(key)
        if value is None:
            return None
        if is_finite(value):
            return float(value)
        self.problems.malformed(f"{self.path}.{key}", "a number", value)
        return None

    def items(self, key: str) -> list[Any]:
        value = self.fields.get(key)
        if value is None or isinstance(value, list):
            return value or []
        self.problems.malformed(f"{self.path}.{key}", "a list", value)
        return []

    def flag(self, key: str) -> bool:
        value = self.fields.get(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        self.problems.malformed(f"{self.path}.{key}", "true or false", value)
        return False

    def version(self, otherwise: int) -> int:
        """The hash version: the vendor has two."""
        value = self.fields.get("hashVersion")
        if value is None:
            return otherwise
        if not isinstance(value, bool) and value in (1, 2):
            return int(value)
        self.problems.malformed(f"{self.path}.hashVersion", "1 or 2", value)
        return otherwise

    def pair(self, key: str) -> tuple[float, float] | None:
        value = self.fields.get(key)
        return None if value is None else pair(self.problems, f"{self.path}.{key}", value)

    def pairs(self, key: str) -> list[tuple[float, float]]:
        found = (pair(self.problems, f"{self.path}.{key}[{number}]", value) for number, value in enumerate(self.items(key)))
        return [one for one in found if one is not None]

    def objects(self, key: str) -> list[Fields]:
        """The objects of a list; each keeps its number in its path."""
        found = []
        for number, value in enumerate(self.items(key)):
            if isinstance(value, dict):
                found.append(Fields(self.problems, f"{self.path}.{key}[{number}]", value))
            else:
                self.problems.malformed(f"{self.path}.{key}[{number}]", "an object", value)
        return found


def pair(problems: Problems, path: str, value: Any) -> tuple[float, float] | None:
    """A range [low, high) of the vendor."""
    if isinstance(value, list | tuple) and len(value) == 2 and all(map(is_finite, value)):
        return float(value[0]), float(value[1])
    problems.malformed(path, "two numbers", value)
    return None
