"""Reading a features document without trusting it: typed looks that note a Problem instead of raising, so that all are reported at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

from extproc.errors import Problem

LONGEST_SHOWN: Final = 80
"""Characters of an offending value in a message: enough to find it, short enough for a terminal."""
MOST_NAMES: Final = 24
"""Names in a hint: all operators, and a screenful of flags."""
EXPORT: Final = "export the flags again: Unleash itself writes this field correctly"
CORRECT: Final = "correct it in Unleash: its engine reads another condition into such a value, or switches the flag off"


@dataclass(slots=True)
class Notes:
    """What compiling one flag found: Problems, and the attributes that its answer may depend on."""

    problems: list[Problem] = field(default_factory=list)
    needs: set[str] = field(default_factory=set)
    needs_time: bool = False

    def refuse(self, kind: str, path: str, message: str, hint: str) -> None:
        """Note a Problem `flag.<kind>`."""
        self.problems.append(Problem(f"flag.{kind}", path, message, hint))

    def malformed(self, path: str, value: Any, wanted: str, hint: str = EXPORT) -> None:
        """Note a value of the wrong shape (EXPORT), or one that a person has typed wrongly (CORRECT)."""
        self.refuse("malformed", path, f"{shown(value)} is not {wanted}", hint)

    def text(self, parent: Mapping[str, Any], name: str, path: str) -> str | None:
        """A text that must be there; None after noting a Problem."""
        value = parent.get(name)
        if isinstance(value, str):
            return value
        self.malformed(f"{path}.{name}", value, "a text")
        return None

    def flag(self, parent: Mapping[str, Any], name: str, path: str, default: bool | None = None) -> bool:
        """true or false; `default` where it is not there."""
        value = parent.get(name, default)
        if isinstance(value, bool):
            return value
        self.malformed(f"{path}.{name}", value, "true or false")
        return False

    def texts(self, parent: Mapping[str, Any], name: str, path: str) -> tuple[str, ...]:
        """A list of texts; null or missing is empty, as the engine has it."""
        found: list[str] = []
        for index, value in enumerate(self.entries(parent, name, path)):
            if isinstance(value, str):
                found.append(value)
            else:
                self.malformed(f"{path}.{name}[{index}]", value, "a text")
        return tuple(found)

    def objects(self, parent: Mapping[str, Any], name: str, path: str) -> list[tuple[str, Mapping[str, Any]]]:
        """(path, object) of each entry of a list; null or missing is empty."""
        found: list[tuple[str, Mapping[str, Any]]] = []
        for index, value in enumerate(self.entries(parent, name, path)):
            place = f"{path}.{name}[{index}]" if path else f"{name}[{index}]"
            if isinstance(value, Mapping):
                found.append((place, value))
            else:
                self.malformed(place, value, "an object")
        return found

    def parameters(self, strategy: Mapping[str, Any], path: str) -> dict[str, str]:
        """A strategy's parameters: texts only; a number here makes the engine reject the whole document."""
        value = strategy.get("parameters")
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.malformed(f"{path}.parameters", value, "an object")
            return {}
        for name, one in value.items():
            if not isinstance(one, str):
                self.malformed(f"{path}.parameters.{name}", one, "a text")
        return {name: str(one) for name, one in value.items()}

    def entries(self, parent: Mapping[str, Any], name: str, path: str) -> list[Any]:
        """A list of anything; null or missing is empty."""
        value = parent.get(name)
        if value is None:
            return []
        if isinstance(value, list):
            return value
        self.malformed(f"{path}.{name}" if path else name, value, "a list")
        return []


def shown(value: Any) -> str:
    """A value as a message shows it."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."


def did_you_mean(wanted: str, known: list[str]) -> str:
    """A hint with the nearest known name."""
    near = get_close_matches(wanted, known, n=1)
    return f"did you mean {near[0]!r}?" if near else "there are: " + (", ".join(sorted(known)[:MOST_NAMES]) or "none")
