"""Cohorts: names, order, shares that never fall, and what their selectors name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from extproc.spec import selecting
from extproc.spec.checks.tools import Found, block, blocks, known, mapping, not_reserved, unverified
from extproc.spec.countries import COUNTRIES, GROUPS
from extproc.spec.document.cohorts import SELECTING, CohortBlock, FlagBlock, SelectorBlock
from extproc.spec.document.gates import PhaseBlock
from extproc.spec.units import show_share
from extproc.spec.yamltext import Path


def check(document: Mapping[str, Any], path: Path, rollout: Mapping[str, Any]) -> Iterator[Found]:
    """Rules over the cohorts of one rollout."""
    cohorts = blocks(CohortBlock, rollout.get("cohorts"))
    phases = blocks(PhaseBlock, rollout.get("phases"))
    yield from _order(path, cohorts)
    for index, cohort in enumerate(cohorts):
        if cohort is None:
            continue
        here = (*path, "cohorts", index)
        if phases and all(phase is not None for phase in phases):
            yield from _shares(here, cohort, [phase for phase in phases if phase is not None])
        yield from _selector(document, here, cohort)


def _order(path: Path, cohorts: Sequence[CohortBlock | None]) -> Iterator[Found]:
    names: set[str] = set()
    catch_all: str | None = None
    for index, cohort in enumerate(cohorts):
        if cohort is None:
            continue
        here = (*path, "cohorts", index)
        if cohort.name in names:
            yield "spec.duplicate-cohort", (*here, "name"), f"cohort {cohort.name!r} is there twice", "reports go by name: choose another"
        names.add(cohort.name)
        if catch_all is not None:
            message = f"cohort {cohort.name!r} is never reached: {catch_all!r} before it has no condition"
            yield "spec.unreachable-cohort", here, message, "move the cohort without conditions to the end"
        elif not _narrows(cohort):
            catch_all = cohort.name


def _narrows(selector: SelectorBlock) -> bool:
    return any(getattr(selector, key) is not None for key in SELECTING)


def _shares(here: Path, cohort: CohortBlock, phases: list[PhaseBlock]) -> Iterator[Found]:
    names = [phase.name or show_share(phase.share) for phase in phases]
    ways = [key for key in ("share", "shares", "multiplier") if getattr(cohort, key) is not None]
    if len(ways) > 1:
        yield "spec.two-shares", (*here, ways[1]), f"names {' and '.join(ways)}", "a cohort has one of share, shares and multiplier"
        return
    wrong = list(known("spec.unknown-phase", "phase", (*here, "from"), cohort.from_, names))
    for name in cohort.shares or {}:
        wrong += known("spec.unknown-phase", "phase", (*here, "shares", name), name, names)
    yield from wrong
    if wrong or cohort.shares is None:
        return
    for name in cohort.shares:
        if cohort.from_ is not None and names.index(name) < names.index(cohort.from_):
            message = f"phase {name!r} comes before {cohort.from_!r}, from which the cohort takes part"
            yield "spec.share-too-early", (*here, "shares", name), message, "its share there is 0: delete this one"
    for (before, less), (after, more) in pairwise(zip(names, selecting.shares(cohort, phases), strict=True)):
        if more < less:
            message = f"its share falls from {show_share(less)} at phase {before} to {show_share(more)} at phase {after}"
            hint = "whoever has met the canary would be sent back: a share never falls"
            yield "spec.share-falls", (*here, "shares"), message, hint


def _selector(document: Mapping[str, Any], here: Path, selector: SelectorBlock) -> Iterator[Found]:
    groups = {**GROUPS, **mapping(mapping(document.get("identity")).get("country_groups"))}
    for path, one in _nested(here, selector):
        if path != here and not _narrows(one):
            yield "spec.empty-selector", path, "names no condition, so it means everybody", "write one, or delete this block"
        for number, name in enumerate(one.country or ()):
            if name not in COUNTRIES and name not in groups:
                hint = (
                    "Great Britain is GB"
                    if name == "UK"
                    else f"groups: {', '.join(sorted(groups))}; name your own in identity.country_groups"
                )
                yield "spec.unknown-country", (*path, "country", number), f"there is no country or group {name!r}", hint
        for header in one.header or {}:
            yield from not_reserved((*path, "header", header), header)
        if one.claim:
            yield from unverified(document, (*path, "claim"))


def _nested(path: Path, selector: SelectorBlock) -> Iterator[tuple[Path, SelectorBlock]]:
    yield path, selector
    for key, several in (("all", selector.all), ("any", selector.any)):
        for number, one in enumerate(several or ()):
            yield from _nested((*path, key, number), one)
    if selector.not_ is not None:
        yield from _nested((*path, "not"), selector.not_)
    if isinstance(selector, CohortBlock) and selector.exclude is not None:
        yield from _nested((*path, "exclude"), selector.exclude)


def flag_blocks(document: Mapping[str, Any]) -> Iterator[tuple[Path, FlagBlock]]:
    """Every flag that a cohort names, with its path."""
    for name, rollout in mapping(document.get("rollouts")).items():
        written = mapping(rollout).get("cohorts")
        for index, value in enumerate(written if isinstance(written, list) else ()):
            cohort = block(CohortBlock, value)
            if cohort is not None:
                for path, one in _nested(("rollouts", name, "cohorts", index), cohort):
                    if one.flag is not None:
                        yield (*path, "flag"), one.flag
