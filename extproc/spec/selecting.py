"""Selectors as written -> the nouns of `domain`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from extproc.domain import (
    AllOf,
    Among,
    AnyOf,
    Cohort,
    Fact,
    FactKind,
    FlagIs,
    Identity,
    Ids,
    Not,
    PathStarts,
    RandomShare,
    Regions,
    Selector,
)
from extproc.spec.bundle import ids_in
from extproc.spec.countries import GROUPS
from extproc.spec.document.cohorts import CohortBlock, SelectorBlock
from extproc.spec.document.gates import PhaseBlock
from extproc.spec.units import show_share


@dataclass(frozen=True, slots=True)
class Around:
    """What a selector's meaning depends on outside of its own block."""

    identity: Identity
    groups: Mapping[str, tuple[str, ...]]
    files: Mapping[str, str]


def cohort(block: CohortBlock, phases: list[PhaseBlock], around: Around) -> Cohort:
    """A cohort, its share by phase written out."""
    excluded = selector(block.exclude, around) if block.exclude is not None else None
    return Cohort(block.name, selector(block, around), excluded, shares(block, phases))


def shares(block: CohortBlock, phases: list[PhaseBlock]) -> tuple[float, ...]:
    """Share of a cohort by phase; 0 before the phase from which it takes part."""
    names = [phase.name or show_share(phase.share) for phase in phases]
    first = names.index(block.from_) if block.from_ is not None else 0
    found: list[float] = [0.0] * first
    for name, phase in zip(names[first:], phases[first:], strict=True):
        found.append(_share(block, name, phase.share, found[-1] if found else 0.0))
    return tuple(found)


def _share(block: CohortBlock, name: str, share: float, before: float) -> float:
    if block.share is not None:
        return block.share
    if block.shares is not None:
        return block.shares.get(name, max(before, share))
    return min(1.0, share * block.multiplier) if block.multiplier is not None else share


def selector(block: SelectorBlock, around: Around) -> Selector | None:
    """All that is given holds; None where nothing is."""
    parts = tuple(_parts(block, around))
    if len(parts) > 1:
        return AllOf(parts)
    return parts[0] if parts else None


def ids(listed: list[str] | None, file: str | None, files: Mapping[str, str]) -> Ids | None:
    """Ids of a list and of a file together; None where neither is given."""
    if listed is None and file is None:
        return None
    found = {*(listed or ()), *(ids_in(files[file]) if file is not None else ())}
    return Ids(tuple(sorted(found)), file or "")


def _parts(block: SelectorBlock, around: Around) -> Iterator[Selector]:
    identity = around.identity
    if block.country:
        yield Among(Fact(FactKind.HEADER, identity.country_header), _countries(block.country, around.groups))
    if block.region:
        yield Regions(identity.country_header, identity.region_header, tuple(block.region))
    if block.asn:
        yield Among(Fact(FactKind.HEADER, identity.asn_header), tuple(map(str, block.asn)))
    if block.tier:
        yield Among(Fact(FactKind.HEADER, identity.tier_header), tuple(block.tier))
    for kind, written in ((FactKind.HEADER, block.header), (FactKind.COOKIE, block.cookie), (FactKind.CLAIM, block.claim)):
        for name, values in (written or {}).items():
            yield Among(Fact(kind, name), tuple(values))
    if block.model:
        yield Among(Fact(FactKind.MODEL), tuple(block.model))
    if block.path:
        yield PathStarts(tuple(block.path))
    listed = ids(block.ids, block.ids_file, around.files)
    if listed is not None:
        yield listed
    if block.random is not None:
        yield RandomShare(block.random)
    if block.flag is not None:
        yield FlagIs(block.flag.source, block.flag.key, tuple(block.flag.variants or ()))
    yield from _combinations(block, around)


def _combinations(block: SelectorBlock, around: Around) -> Iterator[Selector]:
    for kind, blocks in ((AllOf, block.all), (AnyOf, block.any)):
        if blocks:
            yield kind(tuple(part for one in blocks if (part := selector(one, around)) is not None))
    if block.not_ is not None:
        part = selector(block.not_, around)
        if part is not None:
            yield Not(part)


def _countries(written: list[str], groups: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    known = {**GROUPS, **groups}
    return tuple(dict.fromkeys(country for name in written for country in known.get(name, (name,))))
