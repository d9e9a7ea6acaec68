"""Traces: Envoy makes the spans, and says in their tags which release a request met; docs/tracing.md is the guide, docs/adr/0023 says why.

Our tags are ours alone: the decision's own metadata, and what the clusters of models say of themselves. No header of a client gets there.
Who the user is stays out: neither the unit nor the client's address, and no query of a URL, where some clients write their key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from extproc import contract
from extproc.domain import Backend, ListenerKind, Model, Spec, Tracing
from extproc.render.settings import EnvoySettings, Profile
from extproc.render.yamltext import Block, typed

TRACE_PARENT: Final = "traceparent"
CONTEXT: Final = (TRACE_PARENT, "tracestate")
"""Headers of the W3C's trace context."""
_DECISION: Final = (
    contract.FIELD_ROLLOUT,
    contract.FIELD_GENERATION,
    contract.FIELD_PHASE,
    contract.FIELD_COHORT,
    contract.FIELD_ARM,
    contract.FIELD_REASON,
)
"""Fields of an assignment that become tags; the unit's is not among them."""
_MODEL: Final = {
    "extproc.model": contract.MODEL_NAME,
    "gen_ai.request.model": contract.MODEL_REQUEST,
    "gen_ai.provider.name": contract.MODEL_PROVIDER,
}
_NOT_SAID: Final = "-"
_PROVIDERS: Final = {
    r"api\.openai\.com": "openai",
    r".+\.openai\.azure\.com": "azure.ai.openai",
    r"api\.anthropic\.com": "anthropic",
    r"generativelanguage\.googleapis\.com": "gcp.gemini",
    r"(.+-)?aiplatform\.googleapis\.com": "gcp.vertex_ai",
    r"bedrock-runtime\..+\.amazonaws\.com": "aws.bedrock",
    r"api\.mistral\.ai": "mistral_ai",
    r"api\.cohere\.com": "cohere",
    r"api\.deepseek\.com": "deepseek",
    r"api\.groq\.com": "groq",
    r"api\.perplexity\.ai": "perplexity",
    r"api\.x\.ai": "x_ai",
}
"""Hosts -> what OpenTelemetry's conventions call who answers there."""
_SAMPLERS: Final = "tracers.opentelemetry.samplers"


def believes_parents(spec: Spec) -> bool:
    """True where a request's `traceparent` comes from people of ours: whoever began a trace has decided whether it is sampled."""
    return spec.listener.kind is ListenerKind.INTERNAL or TRACE_PARENT in spec.listener.set_by


def left_at_the_door(spec: Spec, profile: Profile) -> tuple[str, ...]:
    """Headers of strangers that would decide on traces. With 1.40 their trace goes on, and has spans where both its flag and the share
    want them; 1.36 would do as the flag says, so there a new one begins (both seen)."""
    if spec.listener.tracing is None or spec.listener.kind is ListenerKind.INTERNAL:
        return ()
    begins_anew = profile is Profile.CORE and not believes_parents(spec)
    return ("x-client-trace-id", *(CONTEXT if begins_anew else ()))


def tracing(spec: Spec, settings: EnvoySettings) -> Block:
    """Of the connection manager; nothing where the Spec wants no traces."""
    wanted = spec.listener.tracing
    if wanted is None:
        return {}
    believed = believes_parents(spec)
    percent = {"value": 100.0 if believed else round(100 * wanted.share, 2)}
    block: Block = {
        "client_sampling": {"value": 0.0},
        "random_sampling": percent,
        # Whatever a request says that it wants.
        "overall_sampling": percent,
        "spawn_upstream_span": True,
        "custom_tags": list(_tags(spec, settings.profile)),
        "provider": {"name": "envoy.tracers.opentelemetry", "typed_config": _provider(spec, wanted, believed)},
    }
    if settings.profile is Profile.CORE:
        block["max_path_tag_length"] = 0
    return {"tracing": block}


def untraced(spec: Spec) -> Block:
    """Of a route whose requests are no traffic."""
    return {"tracing": {"overall_sampling": {"numerator": 0}}} if spec.listener.tracing is not None else {}


def told_of_model(spec: Spec, model: Model, backend: Backend) -> Block:
    """Metadata of a model's cluster; nothing where there are no traces."""
    if spec.listener.tracing is None:
        return {}
    said = {contract.MODEL_NAME: model.name, contract.MODEL_REQUEST: model.send_model or model.name}
    hosts = {_provider_of(one.host) for one in backend.endpoints}
    provider = hosts.pop() if len(hosts) == 1 else None
    if provider is not None:
        said[contract.MODEL_PROVIDER] = provider
    return {"metadata": {"filter_metadata": {contract.MODEL_NAMESPACE: said}}}


def without_context(spec: Spec) -> Block:
    """Filters of the router's cluster: Envoy would write a new trace context on each question, and no two would have the same headers,
    which the router knows by their bytes."""
    if spec.listener.tracing is None:
        return {}
    removed = [{"remove": name} for name in CONTEXT]
    mutate = typed("filters.http.header_mutation.v3.HeaderMutation", mutations={"request_mutations": removed})
    codec = typed("filters.http.upstream_codec.v3.UpstreamCodec")
    filters = [
        {"name": "extproc.without_trace", "typed_config": mutate},
        {"name": "envoy.filters.http.upstream_codec", "typed_config": codec},
    ]
    return {"http_filters": filters}


def _tags(spec: Spec, profile: Profile) -> Iterator[Block]:
    for layer in sorted({rollout.layer for rollout in spec.rollouts.values()}):
        lead = "extproc." if layer == contract.MODEL_LAYER else f"extproc.{layer}."
        for field in _DECISION:
            yield _metadata(lead + field, "request", contract.assignment_namespace(layer), field)
    for tag, field in _MODEL.items():
        yield _metadata(tag, "cluster", contract.MODEL_NAMESPACE, field)
    # Instead of what Envoy writes there.
    yield {"tag": "peer.address", "literal": {"value": _NOT_SAID}}
    if profile is Profile.FULL:
        yield {"tag": "http.url", "value": "%REQ(:scheme)%://%REQ(:authority)%%PATH(NQ)%"}


def _metadata(tag: str, kind: str, namespace: str, field: str) -> Block:
    return {"tag": tag, "metadata": {"kind": {kind: {}}, "metadata_key": {"key": namespace, "path": [{"key": field}]}}}


def _provider(spec: Spec, wanted: Tracing, believed: bool) -> Block:
    config: Block = {
        "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
        "grpc_service": {"envoy_grpc": {"cluster_name": contract.TRACES_CLUSTER}, "timeout": "2s"},
        "service_name": spec.application.name,
    }
    if believed:
        share = {"numerator": round(10_000 * wanted.share), "denominator": "TEN_THOUSAND"}
        ratio = _sampler("trace_id_ratio_based", "TraceIdRatioBasedSamplerConfig", sampling_percentage=share)
        config["sampler"] = _sampler("parent_based", "ParentBasedSamplerConfig", wrapped_sampler=ratio)
    return config


def _sampler(name: str, message: str, **fields: Any) -> Block:
    return {"name": f"envoy.{_SAMPLERS}.{name}", "typed_config": typed(f"{_SAMPLERS}.v3.{message}", **fields)}


def _provider_of(host: str) -> str | None:
    """None: nobody whom the conventions name."""
    return next((name for pattern, name in _PROVIDERS.items() if re.fullmatch(pattern, host)), None)
