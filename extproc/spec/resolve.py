"""The document as written -> the nouns of `domain`, defaults filled in. Assumes that `check` has found nothing."""

from __future__ import annotations

from extproc.domain import (
    Application,
    Ceiling,
    Cohort,
    Cookie,
    Credential,
    Endpoint,
    Gate,
    HeaderRule,
    Listener,
    Match,
    Model,
    PathRewrite,
    Phase,
    Prices,
    Rollout,
    Sla,
    Source,
    SourceKind,
    Spec,
    Tls,
    Unit,
)
from extproc.measures import ERRORS, MEASURES
from extproc.spec.document import (
    ApplicationBlock,
    CohortBlock,
    CredentialBlock,
    Document,
    EndpointBlock,
    GateBlock,
    ListenerBlock,
    ModelBlock,
    PhaseBlock,
    PricesBlock,
    RolloutBlock,
    SourceBlock,
    UnitBlock,
)
from extproc.spec.units import show_share

DEFAULT_CEILINGS = {ERRORS.name: 0.05}
"""A canary above 5 % errors is stopped whatever stable does: higher than any healthy LLM back end, low enough to act at once."""


def resolve(document: Document, digest: str) -> Spec:
    """The Spec of a checked document."""
    return Spec(
        application=_application(document.application),
        listener=_listener(document.listener),
        models={name: _model(name, block) for name, block in document.models.items()},
        rollouts={name: _rollout(name, block) for name, block in document.rollouts.items()},
        tier_header=document.identity.tier_header,
        country_header=document.identity.country_header,
        digest=digest,
    )


def _application(block: ApplicationBlock) -> Application:
    sla = Sla(block.sla.latency_p99, block.sla.ttft, block.sla.uptime)
    return Application(block.name, block.type, block.daily_requests, block.daily_units, sla, block.infrastructure, block.watch_lease)


def _listener(block: ListenerBlock) -> Listener:
    return Listener(
        kind=block.kind,
        address=block.address,
        port=block.port,
        trusted_hops=block.trusted_hops,
        geoip_database=block.geoip.database if block.geoip is not None else None,
        set_by=dict(block.set_by),
        admin_port=block.admin_port,
        default_model=block.default_model,
    )


def _model(name: str, block: ModelBlock) -> Model:
    written = block.endpoints or ([block.endpoint] if block.endpoint is not None else [])
    endpoints = tuple(_endpoint(one) for one in written)
    over_tls = next((one for one in endpoints if one.tls is not None), None)
    rewrite = block.path_rewrite
    return Model(
        name=name,
        cluster=block.cluster or name,
        endpoints=endpoints,
        host_rewrite=block.host_rewrite or (over_tls.host if over_tls is not None else None),
        path_rewrite=PathRewrite(rewrite.prefix, rewrite.to) if rewrite is not None else None,
        credential=_credential(block.credential),
        send_model=block.send_model,
        prices=_prices(block.prices),
    )


def _endpoint(block: EndpointBlock) -> Endpoint:
    tls = Tls(block.tls.sni or block.host, block.tls.ca_file) if block.tls is not None else None
    return Endpoint(block.host, block.port, tls)


def _credential(block: CredentialBlock | None) -> Credential | None:
    return Credential(block.header, block.prefix, block.file, block.env) if block is not None else None


def _prices(block: PricesBlock | None) -> Prices | None:
    if block is None:
        return None
    return Prices(block.input, block.cached_input if block.cached_input is not None else block.input, block.output)


def _rollout(name: str, block: RolloutBlock) -> Rollout:
    match = block.match
    return Rollout(
        name=name,
        layer=block.layer,
        match=Match(tuple(host.lower() for host in match.hosts or ()), tuple(match.paths or ()), tuple(match.models or ())),
        stable=block.stable,
        canary=block.canary,
        unit=_unit(block.unit),
        cohorts=tuple(_cohort(cohort) for cohort in block.cohorts),
        phases=tuple(_phase(index, phase) for index, phase in enumerate(block.phases)),
        holdback=block.holdback,
        salt=block.salt or name,
        start=block.start,
        alpha=block.alpha,
    )


def _unit(block: UnitBlock) -> Unit:
    sources = tuple(_source(source) for source in block.sources)
    name = next((source.name for source in sources if source.kind is SourceKind.COOKIE), None)
    if name is None:
        return Unit(block.kind, sources, None)
    written = block.cookie
    max_age = written.max_age if written is not None else 365 * 86400.0
    secure = "; Secure" if written is None or written.secure else ""
    same_site = written.same_site if written is not None else "Lax"
    return Unit(block.kind, sources, Cookie(name, int(max_age), f"Path=/; HttpOnly{secure}; SameSite={same_site}"))


def _source(block: SourceBlock) -> Source:
    if block.header is not None:
        return Source(SourceKind.HEADER, block.header)
    if block.api_key is not None:
        return Source(SourceKind.API_KEY, block.api_key)
    assert block.cookie is not None
    return Source(SourceKind.COOKIE, block.cookie)


def _cohort(block: CohortBlock) -> Cohort:
    rules = tuple(HeaderRule(name, tuple(values)) for name, values in (block.header or {}).items())
    return Cohort(block.name, tuple(block.country or ()), tuple(block.tier or ()), rules, block.random)


def _phase(index: int, block: PhaseBlock) -> Phase:
    gates = block.gates if block.gates is not None else {ERRORS.name: GateBlock()}
    ceilings = block.ceilings if block.ceilings is not None else DEFAULT_CEILINGS
    return Phase(
        name=block.name or show_share(block.share),
        share=block.share,
        min_dwell=block.min_dwell,
        max_dwell=block.max_dwell,
        min_units=block.min_units,
        min_requests=block.min_requests,
        gates=tuple(_gate(index, name, gate, len(gates)) for name, gate in gates.items()),
        ceilings=tuple(Ceiling(name, limit) for name, limit in ceilings.items()),
    )


def _gate(index: int, name: str, block: GateBlock, gates: int) -> Gate:
    margins = MEASURES[name].margins
    margin = block.margin if block.margin is not None else margins[min(index, len(margins) - 1)]
    return Gate(name, margin, block.weight if block.weight is not None else 1 / gates)
