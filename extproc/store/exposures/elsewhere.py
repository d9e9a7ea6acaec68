"""Lists that are on other machines: of which controllers, from when to when, and how a person has them here."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from extproc.domain import Action
from extproc.store.base import SharedStore, whole_journal
from extproc.store.exposures.gaps import instant
from extproc.store.exposures.wanted import Wanted
from extproc.store.terms import Led, who_led


def leaders(store: SharedStore, wanted: Wanted) -> tuple[Led, ...]:
    """Who led while requests may have met the canary that are wanted: from the rollout's start on; raises StoreError."""
    until = wanted.until if wanted.until is not None else float("inf")
    terms = store.terms()
    return who_led(terms, max(wanted.since or 0.0, _begun(store, wanted)), until) if terms else ()


def _begun(store: SharedStore, wanted: Wanted) -> float:
    """When the attempt, or the first one, was started; 0 where the Journal does not say."""
    found = 0.0
    for entry in whole_journal(store, wanted.rollout):
        if wanted.attempt == entry.numbers.get("attempt") if wanted.attempt is not None else entry.action is Action.START:
            found = entry.at
    return found


def not_here(led: Led, wanted: Wanted, store: str, why: str) -> str:
    """What is missing, and the commands that add it."""
    name, which = f"{led.name}.part", ("extproc", "exposures", wanted.rollout, "--store", store)
    there, here = shlex.join((*which, "--part", "-o", name)), shlex.join((*which, "--from", name))
    return (
        f"{led.name} led from {instant(led.since, 0)} until {_end(led)}, and its list is not in this one ({why}). "
        f"On {led.name}: {there}; bring the file, then here: {here}"
    )


def begins_late(led: Led, began: float) -> str:
    """A controller has led before its list begins."""
    return (
        f"{led.name} led from {instant(led.since, 0)} on, and the list that is there begins {instant(began, 0)}: what it heard before was "
        f"in another file (another disk, another `local` in the store's URL); add it with --from"
    )


def not_known(why: str) -> str:
    """Nobody can say whether there are others."""
    return f"whether other controllers have led is not known: {why}; ask on each machine with --part, and put them together with --from"


def others(led: Iterable[Led], owners: Iterable[str]) -> list[Led]:
    """Those whose list none of these is."""
    known = set(owners)
    return [one for one in led if one.name not in known]


def _end(led: Led) -> str:
    return "now" if led.until is None else instant(led.until, 0)
