"""What the doctor says: a mark, what was seen, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Mark(StrEnum):
    """`wrong` alone makes the exit code 1; `unseen` is what could not be looked at."""

    WELL = "well"
    NOTE = "note"
    UNSEEN = "unseen"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One look at one thing."""

    topic: str
    id: str
    """Stable, for scripts: `envoy.unreachable`."""
    mark: Mark
    seen: str
    """What was seen, with its numbers."""
    do: str = ""
    """The next step; never empty where the mark is `wrong` or `unseen`."""

    def __post_init__(self) -> None:
        if self.mark in (Mark.WRONG, Mark.UNSEEN) and not self.do:
            raise ValueError(f"{self.id} has no next step")


@dataclass(frozen=True, slots=True)
class Topic:
    """Makes the Findings of one topic."""

    name: str

    def well(self, id: str, seen: str) -> Finding:
        """As it should be."""
        return Finding(self.name, id, Mark.WELL, seen)

    def note(self, id: str, seen: str, do: str = "") -> Finding:
        """Worth knowing, nothing is wrong."""
        return Finding(self.name, id, Mark.NOTE, seen, do)

    def unseen(self, id: str, seen: str, do: str) -> Finding:
        """Could not be looked at."""
        return Finding(self.name, id, Mark.UNSEEN, seen, do)

    def wrong(self, id: str, seen: str, do: str) -> Finding:
        """Has to be mended."""
        return Finding(self.name, id, Mark.WRONG, seen, do)
