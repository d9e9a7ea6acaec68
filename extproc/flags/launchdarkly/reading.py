"""The vendor's document, read with types checked and every Problem collected.

The types are those that the SDK itself insists on; a document that it would reject as a whole is refused here for the flag that needs the
wrong part. `null` is the same as not there. Names that nobody asks for are not looked at: nor does the SDK.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from extproc.errors import Problem

TYPE_HINT = "export the flag again: this is not the form in which LaunchDarkly gives it"


@dataclass(frozen=True, slots=True)
class Found:
    """What the whole reading gathers."""

    problems: list[Problem]
    needs: set[str]
    """Attributes that the answer may depend on."""


@dataclass(frozen=True, slots=True)
class Node:
    """One JSON object of the document and where it stands."""

    data: Mapping[str, Any]
    path: str
    found: Found

    def at(self, name: str) -> str:
        """Path of something inside this object; of the object itself without a name."""
        return f"{self.path}.{name}" if self.path and name else self.path or name

    def refuse(self, problem: str, name: str, message: str, hint: str) -> None:
        """Note a Problem about something inside this object."""
        self.found.problems.append(Problem(f"flag.{problem}", self.at(name), message, hint))

    def text(self, name: str, *, required: bool = False) -> str | None:
        """A string."""
        value = self.data.get(name)
        if isinstance(value, str):
            return value
        self._complain(name, value, "a string", required)
        return None

    def boolean(self, name: str) -> bool:
        """True or False; False where it is not there."""
        value = self.data.get(name)
        if isinstance(value, bool):
            return value
        self._complain(name, value, "true or false", False)
        return False

    def integer(self, name: str, *, required: bool = False) -> int | None:
        """A whole number. A boolean is none, although Python would take it for one."""
        value = self.data.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        self._complain(name, value, "a whole number", required)
        return None

    def items(self, name: str, *, required: bool = False) -> list[Any]:
        """A list of anything; empty where it is not there."""
        value = self.data.get(name)
        if isinstance(value, list):
            return value
        self._complain(name, value, "a list", required)
        return []

    def texts(self, name: str, *, required: bool = False) -> list[str]:
        """A list of strings; what is none is refused and left out."""
        texts = []
        for index, value in enumerate(self.items(name, required=required)):
            if isinstance(value, str):
                texts.append(value)
            else:
                self._complain(f"{name}[{index}]", value, "a string", True)
        return texts

    def node(self, name: str) -> Node | None:
        """An object."""
        value = self.data.get(name)
        if isinstance(value, Mapping):
            return Node(value, self.at(name), self.found)
        self._complain(name, value, "an object", False)
        return None

    def nodes(self, name: str, *, required: bool = False) -> list[Node]:
        """A list of objects; what is none is refused and left out."""
        nodes = []
        for index, value in enumerate(self.items(name, required=required)):
            if isinstance(value, Mapping):
                nodes.append(Node(value, f"{self.at(name)}[{index}]", self.found))
            else:
                self._complain(f"{name}[{index}]", value, "an object", True)
        return nodes

    def check_key(self, key: str) -> None:
        """A flag's or segment's own key is hashed, so it must be the one that it is filed under."""
        own = self.text("key", required=True)
        if own is not None and own != key:
            self.refuse("malformed", "key", f"must be {key!r}, as it is filed, not {own!r}", TYPE_HINT)

    def _complain(self, name: str, value: object, wanted: str, required: bool) -> None:
        if value is not None:
            self.refuse("malformed", name, f"must be {wanted}, not {value!r}", TYPE_HINT)
        elif required:
            self.refuse("malformed", name, f"must be {wanted} and is missing", TYPE_HINT)
