"""Which request headers a Spec reads, believes, and keeps from the models."""

from __future__ import annotations

from extproc import contract
from extproc.domain import ListenerKind, SourceKind, Spec

FORWARDED = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port")
OF_ENVOY = (
    "x-envoy-external-address",
    "x-envoy-internal",
    "x-envoy-original-path",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-attempt-count",
)


def identity_headers(spec: Spec) -> tuple[str, ...]:
    """Headers that say who somebody is: units, tier, country, cohorts. Credentials and cookies prove themselves and are not among them."""
    found: list[str] = []
    for rollout in spec.rollouts.values():
        found += [source.name for source in rollout.unit.sources if source.kind is SourceKind.HEADER]
        for cohort in rollout.cohorts:
            found += [spec.tier_header] * bool(cohort.tiers) + [spec.country_header] * bool(cohort.countries)
            found += [rule.name for rule in cohort.headers]
    return tuple(dict.fromkeys(found))


def needed_headers(spec: Spec) -> tuple[str, ...]:
    """Headers that a decision may look at: the only ones that Envoy forwards to the router."""
    needed = [contract.REQUEST_ID_HEADER, *identity_headers(spec)]
    for rollout in spec.rollouts.values():
        needed += [":authority"] * bool(rollout.match.hosts) + [":path"] * bool(rollout.match.paths)
        for source in rollout.unit.sources:
            if source.kind is not SourceKind.HEADER:
                needed.append("cookie" if source.kind is SourceKind.COOKIE else source.name)
    return tuple(sorted(dict.fromkeys(needed)))


def stripped_early(spec: Spec) -> tuple[str, ...]:
    """Headers that no client may send: at an edge every identity header that nobody in front of Envoy sets; what geoip sets, always."""
    stripped = [spec.country_header] if spec.listener.geoip_database is not None else []
    if spec.listener.kind is ListenerKind.EDGE:
        stripped += [header for header in identity_headers(spec) if header not in spec.listener.set_by]
    return tuple(dict.fromkeys(stripped))


def kept_from_models(spec: Spec) -> tuple[str, ...]:
    """Headers that no model vendor gets to see: ours, who the user is, cookies, and what Envoy tells the next proxy."""
    layers = dict.fromkeys(rollout.layer for rollout in spec.rollouts.values() if rollout.layer != contract.MODEL_LAYER)
    ours = [contract.CLUSTER_HEADER, *(contract.VARIANT_PREFIX + layer for layer in layers)]
    return tuple(dict.fromkeys([*ours, *identity_headers(spec), spec.country_header, "cookie", *FORWARDED, *OF_ENVOY]))


def api_key_headers(spec: Spec) -> tuple[str, ...]:
    """Headers in which clients of the application send their own keys."""
    sources = (source for rollout in spec.rollouts.values() for source in rollout.unit.sources)
    return tuple(dict.fromkeys(source.name for source in sources if source.kind is SourceKind.API_KEY))
