"""What is known while one flag's rule is compiled: where we are in it, what is wrong with it, what it asks for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from extproc.errors import Problem
from extproc.flags.flagd.expression import NOTHING, Expression

LONGEST_SHOWN: Final = 80
"""Characters of an offending value in a message."""


class Place(NamedTuple):
    """Where a part of a rule stands."""

    path: str
    root: bool = True
    """False inside map, filter, reduce, all, some, none, where variables are those of an item."""
    depth: int = 0

    def at(self, suffix: str) -> Place:
        return Place(self.path + suffix, self.root, self.depth + 1)

    def inside(self) -> Place:
        return Place(self.path, False, self.depth)


@dataclass(slots=True)
class Rule:
    """One flag's rule."""

    key: str
    evaluators: tuple[str, ...] = ()
    """Names under $evaluators, in the document's order."""
    problems: list[Problem] = field(default_factory=list)
    needs: set[str] = field(default_factory=set)
    needs_time: bool = False

    def refuse(self, place: Place, identity: str, message: str, hint: str) -> Expression:
        """Note what is wrong, and go on, so that all is found at once."""
        self.problems.append(Problem(f"flag.{identity}", place.path, message, hint))
        return NOTHING


def shown(value: Any) -> str:
    """A value as it stands in the document, cut."""
    written = json.dumps(value, ensure_ascii=False, default=str)
    return written if len(written) <= LONGEST_SHOWN else written[:LONGEST_SHOWN] + "..."
