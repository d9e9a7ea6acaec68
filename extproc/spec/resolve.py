"""The document as written -> the nouns of `domain`, defaults filled in. Assumes that `check` has found nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final

import orjson

from extproc.domain import (
    Affinity,
    Application,
    Attribute,
    Backend,
    Conversation,
    Cookie,
    Credential,
    Endpoint,
    Fact,
    FactKind,
    FeedbackTerms,
    FlagSource,
    FlagVendor,
    Geoip,
    Identity,
    Judge,
    JudgeEndpoint,
    Judging,
    Jwt,
    Listener,
    Match,
    Model,
    Overrides,
    PathRewrite,
    Phase,
    Poll,
    Prices,
    Probe,
    Prometheus,
    Rollout,
    Sessions,
    Shadow,
    Sla,
    Slices,
    Source,
    SourceKind,
    Spec,
    Tls,
    Tracing,
    Unit,
)
from extproc.judge import rubric
from extproc.judge.shipped import rubric_for
from extproc.measures import JUDGE, SAMPLED, SESSION_LENGTH, THUMBS, TRIPWIRES
from extproc.spec import alerting, deploying, gating, hosting, selecting
from extproc.spec.document import Document
from extproc.spec.document.application import ApplicationBlock, ListenerBlock
from extproc.spec.document.feedback import FeedbackBlock
from extproc.spec.document.flags import AttributeBlock, FlagSourceBlock
from extproc.spec.document.gates import PrometheusBlock
from extproc.spec.document.judge import JudgeBlock, JudgeEndpointBlock
from extproc.spec.document.models import BackendBlock, CredentialBlock, EndpointBlock, ModelBlock, PricesBlock, SlicesBlock
from extproc.spec.document.rollout import (
    ConversationBlock,
    CookieBlock,
    OverridesBlock,
    RolloutBlock,
    SourceBlock,
    UnitBlock,
)
from extproc.spec.document.shadow import ShadowBlock
from extproc.spec.document.signals import RetriesBlock, SessionsBlock
from extproc.spec.document.tracing import TracingBlock

UNIT_ATTRIBUTES: Final[Mapping[FlagVendor, str]] = {
    FlagVendor.UNLEASH: "userId",
    FlagVendor.LAUNCHDARKLY: "key",
    FlagVendor.GROWTHBOOK: "id",
    FlagVendor.FLAGD: "targetingKey",
}
"""What each vendor calls the id that a flag is sticky to."""
USUAL_SOURCES: Final[Mapping[str, tuple[Source, ...]]] = {
    "user": (
        Source(SourceKind.HEADER, "x-user-id"),
        Source(SourceKind.API_KEY, "authorization"),
        Source(SourceKind.COOKIE, "llm_uid"),
    ),
    "tenant": (Source(SourceKind.HEADER, "x-tenant-id"), Source(SourceKind.API_KEY, "authorization")),
    "conversation": (Source(SourceKind.HEADER, "x-conversation-id"), Source(SourceKind.COOKIE, "llm_conversation_id")),
    "request": (),
}
"""Where the ids of a kind of unit come from, unless the Spec says otherwise."""
STATE_IS_KEPT: Final = 30 * 86400.0
"""Seconds that a provider keeps a conversation's state: OpenAI's stored responses are deleted after 30 days."""


def resolve(document: Document, digest: str, files: Mapping[str, str]) -> Spec:
    """The Spec of a checked document, and of the files that it names."""
    written = document.identity
    identity = Identity(written.tier_header, written.country_header, written.region_header, written.asn_header)
    groups = {name: tuple(countries) for name, countries in written.country_groups.items()}
    around = selecting.Around(identity, groups, files)
    salts = {name: block.salt or name for name, block in document.rollouts.items()}
    judge = _judge(document.judge, document.application, files) if document.judge is not None else None
    sessions = _sessions(document.sessions) if document.sessions is not None else None
    feedback = _feedback(document.feedback) if document.feedback is not None else None
    sources = {SESSION_LENGTH.name: sessions, THUMBS.name: feedback}
    told = {name: source.looked_at for name, source in sources.items() if source is not None}
    return Spec(
        application=_application(document.application),
        listener=_listener(document.listener),
        identity=identity,
        models={name: _model(name, block) for name, block in document.models.items()},
        layers={name: _slots(block.slots) for name, block in document.layers.items()},
        flags={name: _flags(name, block, files) for name, block in document.flags.items()},
        rollouts={name: _rollout(name, block, salts, around, document.models, judge, told) for name, block in document.rollouts.items()},
        digest=digest,
        prometheus=_prometheus(document.prometheus) if document.prometheus is not None else None,
        judge=judge,
        sessions=sessions,
        asked_again=(document.retries or RetriesBlock()).within,
        feedback=feedback,
        deploy=deploying.deploy(document.deploy, document.application.name, document.models) if document.deploy is not None else None,
        alerts=alerting.alerts(document.alerts) if document.alerts is not None else None,
    )


def _feedback(block: FeedbackBlock) -> FeedbackTerms:
    return FeedbackTerms(block.window, tuple(block.origins), block.keys_file or "", block.allow_request_ids_from_browsers, block.tokens)


def _sessions(block: SessionsBlock) -> Sessions:
    source = Source(SourceKind.HEADER, block.header) if block.header is not None else Source(SourceKind.COOKIE, block.cookie or "")
    return Sessions(source, block.lasts)


def _judge(block: JudgeBlock, application: ApplicationBlock, files: Mapping[str, str]) -> Judge:
    written = block.rubric_file
    return Judge(
        endpoints=tuple(_judge_endpoint(one) for one in block.judges),
        rubric=rubric.load(files[written]) if written is not None else rubric_for(application.type),
        sample=block.sample,
        per_hour=block.per_hour,
        per_release=block.per_release,
        within=block.within,
        again=block.again,
        language=block.language,
        patterns=dict(block.redact),
        retention=block.retention,
        longest=block.longest_body,
    )


def _judge_endpoint(one: JudgeEndpointBlock) -> JudgeEndpoint:
    credential, prices = _credential(one.credential), _prices(one.prices)
    return JudgeEndpoint(one.name or one.model, one.url, one.model, credential, prices, one.temperature, one.timeout, one.concurrency)


def _judging(phases: Sequence[Phase], shadow: ShadowBlock | None, judge: Judge | None) -> Judging | None:
    """What a score means in a rollout; None where no phase looks at sampled answers. Rules alone ask no judge, whoever else has one."""
    gated = {gate.measure for phase in phases for gate in phase.gates}
    if judge is None or SAMPLED.isdisjoint(gated):
        return None
    if JUDGE.name not in gated and (shadow is None or not shadow.min_judged):
        return Judging("", (), judge.sample)
    return Judging(judge.rubric.digest, tuple(one.model for one in judge.endpoints), judge.sample)


def _slots(written: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    # Each begins exactly where the one before ends: end - share would be another number, by a bit.
    ends = [min(end, 1.0) for end in accumulate(written.values(), initial=0.0)]
    return dict(zip(written, pairwise(ends), strict=True))


def _flags(name: str, block: FlagSourceBlock, files: Mapping[str, str]) -> FlagSource:
    document: dict[str, Any] | None = orjson.loads(files[block.file]) if block.file is not None else None
    poll = block.poll
    attributes = {UNIT_ATTRIBUTES[block.vendor]: Attribute(None, AttributeBlock(unit=True).type)}
    attributes |= {attribute: _attribute(one) for attribute, one in block.attributes.items()}
    return FlagSource(
        name, block.vendor, document, Poll(poll.url, _credential(poll.credential), poll.every) if poll is not None else None, attributes
    )


def _attribute(block: AttributeBlock) -> Attribute:
    if block.unit:
        return Attribute(None, block.type)
    for kind, name in ((FactKind.HEADER, block.header), (FactKind.COOKIE, block.cookie), (FactKind.CLAIM, block.claim)):
        if name is not None:
            return Attribute(Fact(kind, name), block.type)
    raise AssertionError("an attribute has a source")


def _application(block: ApplicationBlock) -> Application:
    sla = Sla(block.sla.latency_p99, block.sla.ttft, block.sla.uptime)
    return Application(
        name=block.name,
        type=block.type,
        daily_requests=block.daily_requests,
        daily_units=block.daily_units,
        sla=sla,
        infrastructure=block.infrastructure,
        watch_lease=block.watch_lease,
        peak=block.peak,
        tokens=hosting.tokens(block.tokens),
    )


def _listener(block: ListenerBlock) -> Listener:
    return Listener(
        kind=block.kind,
        address=block.address,
        port=block.port,
        trusted_hops=block.trusted_hops,
        geoip=Geoip(block.geoip.database, block.geoip.city, block.geoip.asn) if block.geoip is not None else None,
        jwt=_jwt(block),
        set_by=dict(block.set_by),
        admin_port=block.admin_port,
        default_model=block.default_model,
        tracing=_tracing(block.tracing) if block.tracing is not None else None,
    )


def _tracing(block: TracingBlock) -> Tracing:
    to = _endpoint(block.otlp)
    return Tracing(to.host, to.port, to.tls, block.share)


def _jwt(block: ListenerBlock) -> Jwt | None:
    jwt = block.jwt
    return Jwt(jwt.issuer, tuple(jwt.audiences or ()), jwt.jwks_file, jwt.jwks_uri) if jwt is not None else None


def _model(name: str, block: ModelBlock) -> Model:
    alone = BackendBlock(
        cluster=block.cluster or name,
        endpoint=block.endpoint,
        endpoints=block.endpoints,
        endpoint_slices=block.endpoint_slices,
        host_rewrite=block.host_rewrite,
    )
    rewrite, affinity, probe = block.path_rewrite, block.affinity, block.probe
    return Model(
        name=name,
        backends=tuple(_backend(one) for one in block.pool or [alone]),
        affinity=Affinity(affinity.policy, affinity.header) if affinity is not None else None,
        path_rewrite=PathRewrite(rewrite.prefix, rewrite.to) if rewrite is not None else None,
        credential=_credential(block.credential),
        send_model=block.send_model,
        prices=_prices(block.prices),
        serving=hosting.serving(block.serving),
        tokens=hosting.tokens(block.tokens),
        probe=Probe(probe.path, probe.every, probe.timeout) if probe is not None else None,
    )


def _backend(block: BackendBlock) -> Backend:
    written = block.endpoints or ([block.endpoint] if block.endpoint is not None else [])
    endpoints = tuple(_endpoint(one) for one in written)
    over_tls = next((one for one in endpoints if one.tls is not None), None)
    written_slices = block.endpoint_slices
    slices = Slices(written_slices.file, written_slices.port, _slices_tls(written_slices)) if written_slices is not None else None
    named = slices.tls.sni if slices is not None and slices.tls is not None else None
    host_rewrite = block.host_rewrite or (over_tls.host if over_tls is not None else named)
    return Backend(block.cluster, block.weight, endpoints, host_rewrite, slices)


def _slices_tls(block: SlicesBlock) -> Tls | None:
    return Tls(block.tls.sni or "", block.tls.ca_file) if block.tls is not None else None


def _endpoint(block: EndpointBlock) -> Endpoint:
    tls = Tls(block.tls.sni or block.host, block.tls.ca_file) if block.tls is not None else None
    return Endpoint(block.host, block.port, tls)


def _credential(block: CredentialBlock | None) -> Credential | None:
    return Credential(block.header, block.prefix, block.file, block.env) if block is not None else None


def _prices(block: PricesBlock | None) -> Prices | None:
    if block is None:
        return None
    return Prices(block.input, block.cached_input if block.cached_input is not None else block.input, block.output)


def _prometheus(block: PrometheusBlock) -> Prometheus:
    return Prometheus(block.url, _credential(block.credential), block.every)


def _rollout(
    name: str,
    block: RolloutBlock,
    salts: Mapping[str, str],
    around: selecting.Around,
    models: Mapping[str, ModelBlock],
    judge: Judge | None,
    told: Mapping[str, float],
) -> Rollout:
    """`told`: measures that ratings tell of -> seconds of a request's age at which they are looked at."""
    match, priced = block.match, not gating.unpriced(block.layer, block.stable, block.canary, models)
    there = judge is not None and block.layer == gating.MODEL_LAYER
    sampled = () if not there else (JUDGE.name, TRIPWIRES.name) if judge is not None and judge.endpoints else (TRIPWIRES.name,)
    phases = tuple(gating.phase(index, phase, block, priced, (*sampled, *told)) for index, phase in enumerate(block.phases))
    judging = _judging(phases, block.shadow, judge)
    matures = {**told, **dict.fromkeys(sorted(SAMPLED), judge.within)} if judge is not None and judging is not None else told
    gated = {gate.measure for phase in phases for gate in phase.gates}
    return Rollout(
        name=name,
        layer=block.layer,
        match=Match(tuple(host.lower() for host in match.hosts or ()), tuple(match.paths or ()), tuple(match.models or ())),
        stable=block.stable,
        canary=block.canary,
        unit=_unit(block.unit),
        cohorts=tuple(selecting.cohort(cohort, block.phases, around) for cohort in block.cohorts),
        phases=phases,
        holdback=block.holdback,
        salt=salts[block.reuse_salt_of] if block.reuse_salt_of is not None else salts[name],
        slot=block.slot,
        bucket=block.bucket,
        conversation=_conversation(block.conversation) if block.conversation is not None else None,
        overrides=_overrides(block.overrides, around.files),
        on_canary_failure=block.on_canary_failure,
        start=block.start,
        alpha=block.alpha,
        approval_above=block.approval_above,
        windows=tuple(gating.window(window) for window in block.windows),
        freezes=tuple(gating.freeze(freeze) for freeze in block.freezes),
        judging=judging,
        shadow=_shadow(block.shadow, judging, models[block.canary].prices is not None) if block.shadow is not None else None,
        matures={name: age for name, age in matures.items() if name in gated},
    )


def _shadow(block: ShadowBlock, judging: Judging | None, priced: bool) -> Shadow:
    judged = block.min_judged if judging is not None and judging.judges else 0
    return Shadow(block.share, block.min_dwell, block.max_dwell, block.min_pairs, judged, block.per_release if priced else None)


def _unit(block: UnitBlock) -> Unit:
    sources = tuple(_source(source) for source in block.sources) if block.sources is not None else USUAL_SOURCES[block.kind]
    name = next((source.name for source in sources if source.kind is SourceKind.COOKIE), None)
    if name is None:
        return Unit(block.kind, sources, None)
    written = block.cookie or CookieBlock()
    return Unit(block.kind, sources, _cookie(name, written.max_age, written.secure, written.same_site))


def _cookie(name: str, max_age: float, secure: bool, same_site: str) -> Cookie:
    return Cookie(name, int(max_age), f"Path=/; HttpOnly{'; Secure' if secure else ''}; SameSite={same_site}")


def _source(block: SourceBlock) -> Source:
    written = (
        (SourceKind.HEADER, block.header),
        (SourceKind.API_KEY, block.api_key),
        (SourceKind.COOKIE, block.cookie),
        (SourceKind.CLAIM, block.claim),
    )
    return next(Source(kind, name) for kind, name in written if name is not None)


def _conversation(block: ConversationBlock) -> Conversation:
    named = block.id
    identity = None
    if named is not None:
        identity = Source(SourceKind.HEADER, named.header) if named.header is not None else Source(SourceKind.COOKIE, named.cookie or "")
    # A browser must still have the token of a conversation whose state the provider keeps.
    kept = max(block.lifetime, STATE_IS_KEPT) if block.state_fields or block.state_paths else block.lifetime
    cookie = _cookie(block.cookie, kept, block.secure, "Lax") if block.cookie is not None else None
    return Conversation(
        header=None if cookie is not None else block.header or "x-conversation-token",
        cookie=cookie,
        id=identity,
        lifetime=block.lifetime,
        on_quality_rollback=block.on_quality_rollback,
        state_fields=tuple(block.state_fields),
        state_paths=tuple(block.state_paths),
    )


def _overrides(block: OverridesBlock, files: Mapping[str, str]) -> Overrides:
    qa = block.qa
    return Overrides(
        qa_header=qa.header if qa is not None else "",
        qa_secret=Credential("", "", qa.secret.file, qa.secret.env) if qa is not None else None,
        stable=selecting.ids(block.stable, block.stable_file, files),
        canary=selecting.ids(block.canary, block.canary_file, files),
    )
