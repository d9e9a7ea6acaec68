"""One rollout as the evaluate loop sees it, and what of it the store does not have yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from extproc.controller import saved
from extproc.domain import Action, Decision, Finding, Rollout
from extproc.release import Evidence, Pairs

NOT_YET: Final = Decision(Action.HOLD, "has not been evaluated yet")


@dataclass(slots=True)
class Desk:
    """One rollout as the loop sees it."""

    rollout: Rollout
    evidence: Evidence
    findings: tuple[Finding, ...] = ()
    decision: Decision = NOT_YET
    saved: saved.Extent = saved.NOTHING_SAVED
    """How much of the Evidence the store has."""
    pairs: Pairs | None = None
    """Of the last shadow; None before the first one."""


def unsaved(desks: Iterable[Desk]) -> dict[str, str]:
    """What the store does not have yet of their Evidence."""
    return {key: row for desk in desks for key, row in saved.rows(desk.rollout.name, desk.evidence, desk.saved, desk.pairs).items()}


def are_saved(desks: Iterable[Desk]) -> None:
    """The store has all of it now."""
    for desk in desks:
        desk.saved = saved.extent(desk.evidence)
