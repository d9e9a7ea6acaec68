"""What is valid and still worth knowing before a release: things that nobody will see, or that will never happen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from extproc import flags
from extproc.domain import FlagVendor, ListenerKind, Rollout, Spec, flag_keys, identity_headers, taking_part
from extproc.domain.seconds import DAY
from extproc.errors import Problem
from extproc.measures import MEASURES
from extproc.spec.gating import MODEL_LAYER
from extproc.spec.units import show_share


def blind_spots(spec: Spec) -> list[Problem]:
    """Problems that do not stop a release."""
    rollouts = (spot for rollout in spec.rollouts.values() for spot in _rollout(spec, rollout))
    return [*_identity(spec), *_models(spec), *_flags(spec), *_judge(spec), *rollouts]


def _identity(spec: Spec) -> Iterator[Problem]:
    listener = spec.listener
    if listener.kind is not ListenerKind.EDGE:
        return
    looked_up = _looked_up(spec)
    for header, where in sorted(identity_headers(spec).items()):
        if header not in listener.set_by and header not in looked_up:
            message = f"header {header!r} is stripped at the edge and nobody sets it: {where} never matches"
            yield Problem(
                "blind.nobody-sets", "listener.set_by", message, f"name who sets it, such as set_by: {{{header}: the API gateway}}"
            )


def _looked_up(spec: Spec) -> set[str]:
    """Headers that the geoip filter sets, from the databases that are there."""
    geoip, identity = spec.listener.geoip, spec.identity
    if geoip is None:
        return set()
    found = {identity.country_header} if geoip.country or geoip.city else set()
    return found | ({identity.region_header} if geoip.city else set()) | ({identity.asn_header} if geoip.asn else set())


def _models(spec: Spec) -> Iterator[Problem]:
    for model in spec.models.values():
        if not all(backend.ours for backend in model.backends):
            message = f"model {model.name!r} has no endpoint: only a snippet can be rendered"
            yield Problem("blind.no-endpoint", f"models.{model.name}", message, "add an endpoint, or define the cluster in your own Envoy")
        if model.prices is None:
            yield Problem("blind.no-prices", f"models.{model.name}", "has no prices: its cost is unknown", "add prices per million tokens")


_ALWAYS_THERE: Final = {
    FlagVendor.UNLEASH: frozenset(("currentTime", "sessionId")),
    FlagVendor.LAUNCHDARKLY: frozenset(("kind", "anonymous")),
}
"""Attributes that are not missed where nobody gives them: now; a session where there is a user; a context of kind user, not anonymous."""


def _flags(spec: Spec) -> Iterator[Problem]:
    """What a flag in a file asks for and the Spec takes from nowhere: to that flag it is missing in each request."""
    for name, source in spec.flags.items():
        for key in sorted(flag_keys(spec, name) if source.document is not None else ()):
            needs = flags.compile_flag(source.vendor, source.document or {}, key).needs
            for attribute in sorted(needs - source.attributes.keys() - _ALWAYS_THERE.get(source.vendor, frozenset())):
                message = f"flag {key!r} asks for {attribute!r}, which is missing in every request"
                hint = f"say where it comes from, such as attributes: {{{attribute}: {{header: ...}}}}"
                yield Problem("blind.flag-attribute", f"flags.{name}.attributes", message, hint)


def _judge(spec: Spec) -> Iterator[Problem]:
    """A judge whose money nobody counts."""
    for one in spec.judge.endpoints if spec.judge is not None else ():
        if one.prices is None:
            message = f"what the judge {one.name} costs is not known, so that per_hour and per_release do not bound it"
            yield Problem("blind.judge-prices", "judge.judges", message, "give it prices; $0 where it is your own")


def _rollout(spec: Spec, rollout: Rollout) -> Iterator[Problem]:
    path = f"rollouts.{rollout.name}"
    yield from _not_asked(spec, rollout)
    yield from _not_watched(spec, path)
    yield from _not_compared(rollout, path)
    for index, phase in enumerate(rollout.phases):
        here = f"{path}.phases[{index}]"
        if not phase.ceilings:
            message = f"phase {phase.name} has no ceiling: an incident that hits both models is not seen"
            yield Problem("blind.no-ceiling", here, message, f"add ceilings: {{{next(iter(MEASURES))}: 5%}}")
        units = taking_part(spec, rollout).daily_units * phase.share * phase.max_dwell / DAY
        if units < phase.min_units:
            message = f"about {units:.0f} units meet the canary within max_dwell, {phase.min_units} are needed"
            yield Problem("blind.few-units", here, message, "a larger share, a longer max_dwell or a smaller min_units")
    for cohort in rollout.cohorts:
        if cohort.shares[-1] < 1.0 - rollout.holdback:
            message = (
                f"cohort {cohort.name} ends the last phase at {show_share(cohort.shares[-1])}: COMPLETED gives the canary to all of it"
            )
            yield Problem("blind.cohort-jump", path, message, "let its share reach 100% there, or exclude who must never meet the canary")
    if rollout.phases[-1].share == 1.0:
        message = "until Envoy's own default has been moved after COMPLETED, stable must keep its full capacity"
        yield Problem("blind.keep-stable", path, message, f"runtime key extproc.{rollout.name}.completed; see the README")


def _not_asked(spec: Spec, rollout: Rollout) -> Iterator[Problem]:
    """A canary of which nobody knows whether it is up, other than by the requests that fail."""
    if rollout.layer != MODEL_LAYER:
        return
    canary = spec.models[rollout.canary]
    if canary.probe is None and not any(backend.slices is not None for backend in canary.backends):
        message = f"canary {canary.name} has neither probe nor endpoint_slices: it gets traffic also while it is down, until a gate fails"
        hint = "add probe: {path: /health} where it has such a path, or endpoint_slices in Kubernetes (docs/xds.md)"
        yield Problem("blind.no-readiness", f"models.{canary.name}", message, hint)


def _not_watched(spec: Spec, path: str) -> Iterator[Problem]:
    """What only a block of the Spec makes somebody look at."""
    sources = {"answer quality": ("judge", spec.judge), "user feedback": ("feedback", spec.feedback)}
    missing = {what: block for what, (block, there) in sources.items() if there is None}
    if missing:
        verb = "are" if len(missing) > 1 else "is"
        message = f"{' and '.join(missing)} {verb} not watched: the Spec has no {' and no '.join(missing.values())}"
        yield Problem("blind.not-watched", path, message, "add the block, or watch it on your own dashboards")


def _not_compared(rollout: Rollout, path: str) -> Iterator[Problem]:
    """Measures without a gate, phases with the same ones in one sentence; and the phase in which nobody is left to compare with."""
    missing: dict[tuple[str, ...], list[str]] = {}
    for index, phase in enumerate(rollout.phases):
        if phase.share == 1.0 and not rollout.holdback:
            looked_at = ", ".join(one.name or one.measure for one in phase.ceilings) or "none"
            message = f"in phase {phase.name} nobody is left to compare with; what is looked at are its ceilings: {looked_at}"
            hint = "add ceilings of what must not get worse there, or a holdback"
            yield Problem("blind.no-comparison", f"{path}.phases[{index}]", message, hint)
            continue
        gated = {gate.measure for gate in phase.gates}
        missing.setdefault(tuple(name for name in MEASURES if name not in gated), []).append(phase.name)
    for names, phases in missing.items():
        if names:
            said = f"phase{'s' if len(phases) > 1 else ''} {', '.join(phases)}"
            message = f"{said}: no gate for {', '.join(names)}; a canary that is worse in these is not stopped"
            yield Problem("blind.no-gate", path, message, "name those that matter in gates: a block of gates is all that is compared")
