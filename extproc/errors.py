"""What can be wrong, said so that a person can mend it: `Problem`, and the errors that carry Problems.

A Problem has an identity that documentation and tests can name, the path inside the document, and a hint with the next step.
Whatever reads input collects *all* Problems before it raises. This module imports nothing of extproc.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong (or, as a blind spot or warning, worth knowing)."""

    id: str
    """Stable identity, for example `spec.unknown-key`."""
    path: str
    """Where: a document path (`rollouts.gpt-5-mini.phases[2].share`), an address or a file."""
    message: str
    """What is wrong, with the offending value."""
    hint: str = ""
    """What to do next; empty only where the message already says it."""
    line: int = 0
    """Line in the file, from 1; 0 where there is none."""

    def __str__(self) -> str:
        where = f"{self.path} (line {self.line})" if self.line else self.path
        return f"{where}: {self.message} [{self.id}]" + (f"\n    {self.hint}" if self.hint else "")


class ExtprocError(Exception):
    """Base of every error that extproc raises on purpose; it carries at least one Problem."""

    def __init__(self, problems: Sequence[Problem] | Problem) -> None:
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))


class SpecError(ExtprocError):
    """The Spec is not valid; `problems` lists everything that is wrong with it."""


class SettingsError(ExtprocError):
    """A process flag or environment variable does not fit."""


class StoreError(ExtprocError):
    """The store cannot be read or written; what was acknowledged before stays."""


class ConflictError(StoreError):
    """Another writer changed State in between: read again and decide anew."""


class RefusedError(ExtprocError):
    """An action is not possible in the rollout's present state; nothing was changed."""
