"""What is valid and still worth knowing before a release: things that nobody will see, or that will never happen."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.domain import ListenerKind, Rollout, SourceKind, Spec
from extproc.errors import Problem
from extproc.measures import MEASURES

NOT_WATCHED = "latency, token cost, answer quality and user feedback"
"""Measures that this version does not watch; each leaves this list with the code that watches it."""


def blind_spots(spec: Spec) -> list[Problem]:
    """Problems that do not stop a release."""
    return [*_identity(spec), *_models(spec), *(spot for rollout in spec.rollouts.values() for spot in _rollout(spec, rollout))]


def _identity(spec: Spec) -> Iterator[Problem]:
    listener = spec.listener
    if listener.kind is not ListenerKind.EDGE:
        return
    for header, where in sorted(identity_headers(spec).items()):
        looked_up = header == spec.country_header and listener.geoip_database is not None
        if header not in listener.set_by and not looked_up:
            message = f"header {header!r} is stripped at the edge and nobody sets it: {where} never matches"
            yield Problem(
                "blind.nobody-sets", "listener.set_by", message, f"name who sets it, such as set_by: {{{header}: the API gateway}}"
            )


def identity_headers(spec: Spec) -> dict[str, str]:
    """Headers that the Spec believes about a user -> what reads them. Credentials and cookies are not among them."""
    read: dict[str, str] = {}
    for rollout in spec.rollouts.values():
        for source in rollout.unit.sources:
            if source.kind is SourceKind.HEADER:
                read.setdefault(source.name, f"the unit of {rollout.name}")
        for cohort in rollout.cohorts:
            if cohort.tiers:
                read.setdefault(spec.tier_header, f"cohort {cohort.name}")
            if cohort.countries:
                read.setdefault(spec.country_header, f"cohort {cohort.name}")
            for rule in cohort.headers:
                read.setdefault(rule.name, f"cohort {cohort.name}")
    return read


def _models(spec: Spec) -> Iterator[Problem]:
    for model in spec.models.values():
        if not model.endpoints:
            message = f"model {model.name!r} has no endpoint: only a snippet can be rendered"
            yield Problem("blind.no-endpoint", f"models.{model.name}", message, "add an endpoint, or define the cluster in your own Envoy")
        if model.prices is None:
            yield Problem("blind.no-prices", f"models.{model.name}", "has no prices: its cost is unknown", "add prices per million tokens")


def _rollout(spec: Spec, rollout: Rollout) -> Iterator[Problem]:
    path = f"rollouts.{rollout.name}"
    yield Problem("blind.not-watched", path, f"{NOT_WATCHED} are not watched by this version", "watch them on your own dashboards")
    for index, phase in enumerate(rollout.phases):
        here = f"{path}.phases[{index}]"
        if not phase.ceilings:
            message = f"phase {phase.name} has no ceiling: an incident that hits both models is not seen"
            yield Problem("blind.no-ceiling", here, message, f"add ceilings: {{{next(iter(MEASURES))}: 5%}}")
        units = spec.application.daily_units * phase.share * phase.max_dwell / 86400
        if units < phase.min_units:
            message = f"about {units:.0f} units meet the canary within max_dwell, {phase.min_units} are needed"
            yield Problem("blind.few-units", here, message, "a larger share, a longer max_dwell or a smaller min_units")
    if rollout.phases[-1].share == 1.0:
        message = "until Envoy's own default has been moved after COMPLETED, stable must keep its full capacity"
        yield Problem("blind.keep-stable", path, message, f"runtime key extproc.{rollout.name}.completed; see the README")
