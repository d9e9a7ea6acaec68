"""What no single block can see: references, order, overlaps. Each rule yields Problems; none stops another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from itertools import combinations

from extproc.measures import MEASURES
from extproc.spec.document import CohortBlock, Document, MatchBlock, PhaseBlock, RolloutBlock
from extproc.spec.resolve import DEFAULT_CEILINGS
from extproc.spec.units import show_share
from extproc.spec.yamltext import Path

Found = tuple[str, Path, str, str]
"""Problem id, path, message, hint."""


def check(document: Document) -> Iterator[Found]:
    """Every rule over the whole document."""
    yield from _clusters(document)
    if document.listener.default_model is not None:
        yield from _known_model(document, ("listener", "default_model"), document.listener.default_model)
    for header in (document.identity.tier_header, document.identity.country_header):
        yield from _not_reserved(("identity",), header)
    for name, rollout in document.rollouts.items():
        path: Path = ("rollouts", name)
        yield from _known_model(document, (*path, "stable"), rollout.stable)
        yield from _known_model(document, (*path, "canary"), rollout.canary)
        if rollout.stable == rollout.canary:
            yield "spec.same-model", (*path, "canary"), f"stable and canary are both {rollout.canary!r}", "a rollout has two models"
        yield from _unit(path, rollout)
        yield from _cohorts(path, rollout.cohorts)
        yield from _phases(path, rollout)
    yield from _overlaps(document)


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """A hint that names the nearest known word, or all of them."""
    near = get_close_matches(word, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"


def _known_model(document: Document, path: Path, name: str) -> Iterator[Found]:
    if name not in document.models:
        yield "spec.unknown-model", path, f"there is no model {name!r}", did_you_mean(name, list(document.models))


def _clusters(document: Document) -> Iterator[Found]:
    seen: dict[str, str] = {}
    for name, block in document.models.items():
        cluster = block.cluster or name
        if cluster in seen:
            message = f"cluster {cluster!r} is already that of model {seen[cluster]!r}"
            yield "spec.same-cluster", ("models", name), message, "give each model a cluster of its own"
        seen[cluster] = name
        if block.endpoints and len({bool(one.tls) for one in block.endpoints}) > 1:
            message = "some endpoints use TLS and some do not"
            yield "spec.mixed-tls", ("models", name, "endpoints"), message, "a cluster has one transport: make them two models"


def _not_reserved(path: Path, header: str) -> Iterator[Found]:
    if header.startswith("x-llm-"):
        yield "spec.reserved-header", path, f"header {header!r} is extproc's own", "Envoy strips x-llm-*: choose another header"


def _unit(path: Path, rollout: RolloutBlock) -> Iterator[Found]:
    cookies = [source.cookie for source in rollout.unit.sources if source.cookie is not None]
    if len(cookies) > 1:
        yield "spec.two-cookies", (*path, "unit", "sources"), f"{len(cookies)} cookies are named", "the anonymous have one cookie"
    if rollout.unit.cookie is not None and not cookies:
        yield "spec.cookie-without-source", (*path, "unit", "cookie"), "no source is a cookie", "add {cookie: llm_uid} to the sources"
    for index, source in enumerate(rollout.unit.sources):
        header = source.header or source.api_key
        if header is not None:
            yield from _not_reserved((*path, "unit", "sources", index), header)


def _cohorts(path: Path, cohorts: Sequence[CohortBlock]) -> Iterator[Found]:
    names: set[str] = set()
    catch_all: str | None = None
    for index, cohort in enumerate(cohorts):
        here = (*path, "cohorts", index)
        if cohort.name in names:
            yield "spec.duplicate-cohort", (*here, "name"), f"cohort {cohort.name!r} is there twice", "reports go by name: choose another"
        names.add(cohort.name)
        if catch_all is not None:
            message = f"cohort {cohort.name!r} is never reached: {catch_all!r} before it has no condition"
            yield "spec.unreachable-cohort", here, message, "move the cohort without conditions to the end"
        elif not (cohort.country or cohort.tier or cohort.header or cohort.random is not None):
            catch_all = cohort.name
        for header in cohort.header or {}:
            yield from _not_reserved((*here, "header", header), header)


def _phases(path: Path, rollout: RolloutBlock) -> Iterator[Found]:
    phases = rollout.phases
    names: set[str] = set()
    for index, phase in enumerate(phases):
        here = (*path, "phases", index)
        if index and phase.share <= phases[index - 1].share:
            message = f"{show_share(phase.share)} does not rise above {show_share(phases[index - 1].share)}"
            yield "spec.shares-not-rising", (*here, "share"), message, "a ramp only ever adds users"
        if phase.min_dwell > phase.max_dwell:
            yield "spec.dwell-order", (*here, "min_dwell"), "is longer than max_dwell", "the least dwell must fit into the longest"
        name = phase.name or show_share(phase.share)
        if name in names:
            yield "spec.duplicate-phase", here, f"phase {name!r} is there twice", "commands go by name: choose another"
        names.add(name)
        yield from _measures(here, phase)
        ceilings = phase.ceilings if phase.ceilings is not None else DEFAULT_CEILINGS
        if phase.share > 0.5 and not ceilings and not rollout.holdback:
            message = "above 50% nothing would be watched: stable is too small to compare with"
            yield (
                "spec.unguarded-phase",
                here,
                message,
                "give the phase a ceiling, such as ceilings: {errors: 5%}, or the rollout a holdback",
            )
    if phases[-1].share != 1.0:
        message = f"the last phase ends at {show_share(phases[-1].share)}"
        yield "spec.no-last-phase", (*path, "phases", len(phases) - 1, "share"), message, "end with a phase of 100%"


def _measures(path: Path, phase: PhaseBlock) -> Iterator[Found]:
    for block, names in (("gates", phase.gates), ("ceilings", phase.ceilings)):
        for name in names or {}:
            if name not in MEASURES:
                yield "spec.unknown-measure", (*path, block, name), f"there is no measure {name!r}", did_you_mean(name, list(MEASURES))
    weights = [gate.weight for gate in (phase.gates or {}).values() if gate.weight is not None]
    if weights and (len(weights) != len(phase.gates or {}) or abs(sum(weights) - 1) > 1e-9):
        message = f"the weights sum to {sum(weights):g}"
        yield "spec.weights", (*path, "gates"), message, "give every gate of the phase a weight; together they are 1"


def _overlaps(document: Document) -> Iterator[Found]:
    for (first, one), (second, other) in combinations(document.rollouts.items(), 2):
        if one.layer == other.layer and _overlap(one.match, other.match):
            message = f"its requests overlap with those of {first!r}, in the same layer {one.layer!r}"
            yield "spec.overlap", ("rollouts", second, "match"), message, "separate them by hosts, paths or models, or use another layer"


def _overlap(one: MatchBlock, other: MatchBlock) -> bool:
    def meet(left: list[str] | None, right: list[str] | None, same: Callable[[str, str], bool]) -> bool:
        return not left or not right or any(same(a, b) for a in left for b in right)

    return (
        meet(one.hosts, other.hosts, lambda a, b: a.lower() == b.lower())
        and meet(one.paths, other.paths, lambda a, b: a.startswith(b) or b.startswith(a))
        and meet(one.models, other.models, lambda a, b: a == b)
    )
