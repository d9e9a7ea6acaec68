"""Which request headers Envoy removes at the door, forwards to the router, and keeps from the models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from extproc import contract
from extproc.domain import ListenerKind, Rollout, SourceKind, Spec

FORWARDING_HEADERS: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto")
"""Who the client is and how it came: nothing that a model has to know."""


def needed_headers(spec: Spec) -> tuple[str, ...]:
    """Headers that a decision may look at, sorted; Envoy forwards only these. Equal to `assign`'s own set (tested)."""
    needed = {contract.REQUEST_ID_HEADER}
    for rollout in spec.rollouts.values():
        if rollout.match.hosts:
            needed.add(":authority")
        if rollout.match.paths:
            needed.add(":path")
        needed.update("cookie" if source.kind is SourceKind.COOKIE else source.name for source in rollout.unit.sources)
        needed.update(_cohort_headers(spec, rollout))
    return tuple(sorted(needed))


def identity_headers(spec: Spec) -> tuple[str, ...]:
    """Headers that the Spec believes about a user, sorted: no credentials, no cookies. Equal to `spec`'s own set (tested)."""
    read: set[str] = set()
    for rollout in spec.rollouts.values():
        read.update(source.name for source in rollout.unit.sources if source.kind is SourceKind.HEADER)
        read.update(_cohort_headers(spec, rollout))
    return tuple(sorted(read))


def stripped_at_the_door(spec: Spec) -> tuple[str, ...]:
    """Identity headers that only Envoy itself may set, sorted. x-llm-* goes besides, as a prefix."""
    listener = spec.listener
    stripped = set(identity_headers(spec)) - set(listener.set_by) if listener.kind is ListenerKind.EDGE else set()
    if listener.geoip_database is not None:
        # A miss of the geoip filter leaves the header as it came (seen on 1.40).
        stripped.add(spec.country_header)
    return tuple(sorted(stripped))


def kept_from_models(spec: Spec) -> tuple[str, ...]:
    """Headers by name that no model gets to see: ours, what identifies the user, and the client's own credentials."""
    layers = sorted({rollout.layer for rollout in spec.rollouts.values()} - {contract.MODEL_LAYER})
    ours = [contract.CLUSTER_HEADER, *(contract.VARIANT_PREFIX + layer for layer in layers)]
    identity = {*identity_headers(spec), spec.country_header, spec.tier_header}
    return (*ours, *sorted(identity), "cookie", *_client_credentials(spec), *FORWARDING_HEADERS)


def _client_credentials(spec: Spec) -> list[str]:
    """Headers in which clients send keys: API-key sources, and where a model has a key of its own, every header that carries one."""
    names = {source.name for rollout in spec.rollouts.values() for source in rollout.unit.sources if source.kind is SourceKind.API_KEY}
    carrying = {model.credential.header for model in spec.models.values() if model.credential is not None}
    return sorted(names | carrying | ({"authorization"} if carrying else set()))


def _cohort_headers(spec: Spec, rollout: Rollout) -> Iterator[str]:
    for cohort in rollout.cohorts:
        if cohort.countries:
            yield spec.country_header
        if cohort.tiers:
            yield spec.tier_header
        yield from (rule.name for rule in cohort.headers)
