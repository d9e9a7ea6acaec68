"""What no single block can see: references, order, overlaps. Each rule yields what it found; none stops another.

The rules read the *written* values and take from them every block whose own shape is right. So a file is told all that is wrong with
it at once: a slip in one phase does not hide that another phase names no known measure. A rule never judges a block that it cannot read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import combinations
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from extproc.measures import MEASURES
from extproc.spec.document import CohortBlock, CookieBlock, IdentityBlock, MatchBlock, ModelBlock, PhaseBlock, SourceBlock
from extproc.spec.resolve import DEFAULT_CEILINGS
from extproc.spec.units import share, show_share
from extproc.spec.yamltext import Path

Found = tuple[str, Path, str, str]
"""Problem id, path, message, hint."""
AnyBlock = TypeVar("AnyBlock", bound=BaseModel)


def check(values: Any) -> Iterator[Found]:
    """Every rule over everything in the parsed file that has the right shape."""
    document = _mapping(values)
    models, listener, rollouts = (_mapping(document.get(key)) for key in ("models", "listener", "rollouts"))
    yield from _clusters(models)
    yield from _known_model(models, ("listener", "default_model"), listener.get("default_model"))
    yield from _headers(document.get("identity", {}), _mapping(listener.get("set_by")))
    for name, written in rollouts.items():
        rollout, path = _mapping(written), ("rollouts", name)
        stable, canary = rollout.get("stable"), rollout.get("canary")
        yield from _known_model(models, (*path, "stable"), stable)
        yield from _known_model(models, (*path, "canary"), canary)
        if isinstance(stable, str) and stable == canary:
            yield "spec.same-model", (*path, "canary"), f"stable and canary are both {canary!r}", "a rollout goes from one model to another"
        yield from _unit(path, _mapping(rollout.get("unit")))
        yield from _cohorts(path, _blocks(CohortBlock, rollout.get("cohorts")))
        phases = _blocks(PhaseBlock, rollout.get("phases"))
        yield from _ramp(path, phases)
        for index, phase in enumerate(phases):
            if phase is not None:
                yield from _phase((*path, "phases", index), phase, _holds_back(rollout.get("holdback")))
    yield from _overlaps(rollouts)


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """A hint that names the nearest known word, or all of them."""
    near = get_close_matches(word, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _block(kind: type[AnyBlock], value: Any) -> AnyBlock | None:
    try:
        return kind.model_validate(value)
    except ValidationError:
        return None


def _blocks(kind: type[AnyBlock], values: Any) -> list[AnyBlock | None]:
    return [_block(kind, value) for value in values] if isinstance(values, list) else []


def _known_model(models: Mapping[str, Any], path: Path, name: Any) -> Iterator[Found]:
    if models and isinstance(name, str) and name not in models:
        yield "spec.unknown-model", path, f"there is no model {name!r}", did_you_mean(name, list(models))


def _clusters(models: Mapping[str, Any]) -> Iterator[Found]:
    seen: dict[str, str] = {}
    for name, written in models.items():
        block = _block(ModelBlock, written)
        if block is None:
            continue
        cluster = block.cluster or name
        if cluster in seen:
            message = f"its cluster {cluster!r} is already that of model {seen[cluster]!r}"
            yield "spec.same-cluster", ("models", name), message, "give each model a cluster of its own"
        seen.setdefault(cluster, name)
        if block.endpoints and len({one.tls is None for one in block.endpoints}) > 1:
            message = "some endpoints use TLS and some do not"
            yield "spec.mixed-tls", ("models", name, "endpoints"), message, "a cluster has one transport: make them two models"


def _headers(identity: Any, set_by: Mapping[str, Any]) -> Iterator[Found]:
    block = _block(IdentityBlock, identity)
    if block is not None:
        yield from _not_reserved(("identity", "tier_header"), block.tier_header)
        yield from _not_reserved(("identity", "country_header"), block.country_header)
    for header in set_by:
        yield from _not_reserved(("listener", "set_by", header), header.lower())


def _not_reserved(path: Path, header: str) -> Iterator[Found]:
    if header.startswith("x-llm-"):
        yield "spec.reserved-header", path, f"header {header!r} is extproc's own", "Envoy strips x-llm-*: choose another header"


def _unit(path: Path, unit: Mapping[str, Any]) -> Iterator[Found]:
    sources = _blocks(SourceBlock, unit.get("sources"))
    sound = [source for source in sources if source is not None]
    cookies = [source.cookie for source in sound if source.cookie is not None]
    if len(cookies) > 1:
        message = f"{len(cookies)} cookies are named: {', '.join(cookies)}"
        yield "spec.two-cookies", (*path, "unit", "sources"), message, "Envoy sets one cookie for the anonymous: keep one"
    if "cookie" in unit and _block(CookieBlock, unit["cookie"]) and sources and len(sound) == len(sources) and not cookies:
        hint = "add {cookie: llm_uid} to the sources, or delete this block"
        yield "spec.cookie-without-source", (*path, "unit", "cookie"), "describes a cookie, but no source is a cookie", hint
    for index, source in enumerate(sources):
        header = (source.header or source.api_key) if source is not None else None
        if header is not None:
            yield from _not_reserved((*path, "unit", "sources", index), header)


def _cohorts(path: Path, cohorts: Sequence[CohortBlock | None]) -> Iterator[Found]:
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
        elif not (cohort.country or cohort.tier or cohort.header or cohort.random is not None):
            catch_all = cohort.name
        for header in cohort.header or {}:
            yield from _not_reserved((*here, "header", header), header)


def _ramp(path: Path, phases: Sequence[PhaseBlock | None]) -> Iterator[Found]:
    names: set[str] = set()
    before: PhaseBlock | None = None
    for index, phase in enumerate(phases):
        if phase is None:
            continue
        here = (*path, "phases", index)
        name = phase.name or show_share(phase.share)
        if before is not None and phase.share <= before.share:
            message = f"{show_share(phase.share)} does not rise above {show_share(before.share)} of an earlier phase"
            yield "spec.shares-not-rising", (*here, "share"), message, "a ramp only ever adds users: order the phases by share"
        elif name in names:
            yield "spec.duplicate-phase", (*here, "name"), f"phase {name!r} is there twice", "commands go by name: choose another"
        names.add(name)
        before = phase
    last = phases[-1] if phases else None
    if last is not None and last.share != 1.0:
        message = f"the last phase ends at {show_share(last.share)}"
        yield "spec.no-last-phase", (*path, "phases", len(phases) - 1, "share"), message, "add a last phase with share: 100%"


def _holds_back(written: Any) -> bool:
    try:
        return written is not None and share(written) > 0
    except ValueError:
        return True  # its shape is already a problem; whether it guards a phase is not known


def _phase(here: Path, phase: PhaseBlock, holdback: bool) -> Iterator[Found]:
    if phase.min_dwell > phase.max_dwell:
        message = f"the least dwell ({phase.min_dwell:g} s) is longer than the longest ({phase.max_dwell:g} s)"
        written = "min_dwell" if "min_dwell" in phase.model_fields_set else "max_dwell"
        yield "spec.dwell-order", (*here, written), message, "lower min_dwell (10m by default) or raise max_dwell (24h by default)"
    for block, names in (("gates", phase.gates), ("ceilings", phase.ceilings)):
        for name in names or {}:
            if name not in MEASURES:
                yield "spec.unknown-measure", (*here, block, name), f"there is no measure {name!r}", did_you_mean(name, list(MEASURES))
    weights = [gate.weight for gate in (phase.gates or {}).values() if gate.weight is not None]
    if weights and (len(weights) != len(phase.gates or {}) or abs(sum(weights) - 1) > 1e-9):
        message = f"the weights sum to {sum(weights):g}"
        yield "spec.weights", (*here, "gates"), message, "give every gate of the phase a weight; together they are 1"
    ceilings = phase.ceilings if phase.ceilings is not None else DEFAULT_CEILINGS
    if phase.share > 0.5 and not ceilings and not holdback:
        message = "above 50% nothing would be watched: stable is too small to compare with"
        hint = "give the phase a ceiling, such as ceilings: {errors: 5%}, or the rollout a holdback"
        yield "spec.unguarded-phase", here, message, hint


def _overlaps(rollouts: Mapping[str, Any]) -> Iterator[Found]:
    matches: list[tuple[str, str, MatchBlock]] = []
    for name, written in rollouts.items():
        match = _block(MatchBlock, _mapping(written).get("match", {}))
        layer = _mapping(written).get("layer", "model")
        if match is not None and isinstance(layer, str):
            matches.append((name, layer, match))
    for (first, layer, one), (second, other_layer, other) in combinations(matches, 2):
        if layer == other_layer and _overlap(one, other):
            message = f"its requests overlap with those of {first!r}, in the same layer {layer!r}"
            yield "spec.overlap", ("rollouts", second, "match"), message, "separate them by hosts, paths or models, or use another layer"


def _overlap(one: MatchBlock, other: MatchBlock) -> bool:
    def meet(left: list[str] | None, right: list[str] | None, same: Callable[[str, str], bool]) -> bool:
        return not left or not right or any(same(a, b) for a in left for b in right)

    return (
        meet(one.hosts, other.hosts, lambda a, b: a.lower() == b.lower())
        and meet(one.paths, other.paths, lambda a, b: a.startswith(b) or b.startswith(a))
        and meet(one.models, other.models, lambda a, b: a == b)
    )
