"""The HTTP filters, in the order in which a request meets them, and what happens before and after them."""

from __future__ import annotations

from typing import Any, Final

from extproc import contract
from extproc.domain import ListenerKind, Spec, claims, needed_headers, reads_model, state_fields
from extproc.render.affinity import affinity_filter, affinity_headers
from extproc.render.asked import json_to_metadata, reads_requests, state_filter, token_usage
from extproc.render.body import send_model_filter
from extproc.render.headers import stripped_at_the_door
from extproc.render.identity import geoip_filter, jwt_filter
from extproc.render.routes import BODY_LIMIT, EXT_PROC
from extproc.render.sampling import samples, sampling_filter
from extproc.render.settings import EnvoySettings, Profile, routed_models
from extproc.render.signals import signals_filters
from extproc.render.targets import written_on_routes
from extproc.render.tracing import left_at_the_door
from extproc.render.yamltext import Block, typed

LOG_OPTIONS: Final[Block] = {"access_log_flush_interval": "1s"}
"""Periodic entries show a request that hangs, before it ends."""


def early_mutations(spec: Spec, profile: Profile) -> list[Block]:
    """What is removed before the first route is resolved: nothing from outside is believed that only we may say."""
    mutations: list[Block] = [{"remove_on_match": {"key_matcher": {"prefix": contract.HEADER_PREFIX}}}]
    if spec.listener.kind is ListenerKind.EDGE:
        mutations.append({"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}})
    mutations += [{"remove": name} for name in (*stripped_at_the_door(spec), *left_at_the_door(spec, profile))]
    # Compressed answers would hide the token usage.
    mutations.append({"remove": "accept-encoding"})
    config = typed("http.early_header_mutation.header_mutation.v3.HeaderMutation", mutations=mutations)
    return [{"name": "envoy.http.early_header_mutation.header_mutation", "typed_config": config}]


def http_filters(spec: Spec, settings: EnvoySettings, unmatched_answered: bool) -> list[Any]:
    """Filters without the router at their end, with comments between them.

    `unmatched_answered`: Envoy itself answers what matches no rollout.
    """
    filters: list[Any] = []
    handed_out = _handed_out(spec)
    if handed_out:
        filters += ["# Hands out cookies and conversation tokens, where the decision asks for it.", _handing_out(handed_out)]
    filters += ["# The access log drops typed metadata where there is no untyped (seen on 1.40).", _constant(spec)]
    if spec.listener.jwt is not None:
        filters += [
            "# Tokens: the claims of valid ones. A request without a valid one passes, without claims.",
            jwt_filter(spec.listener.jwt),
        ]
    if _needs_buffer(spec, settings, unmatched_answered):
        filters += ["# Long prompts: bodies up to this size are held; beyond it clients get 413.", buffer()]
    if reads_model(spec) or settings.profile is Profile.CORE:
        said = "# Requests: the model asked for. It waits for the body, and never rejects one."
        filters += [said, json_to_metadata(spec, settings.profile)]
    if state_fields(spec):
        filters += ["# Requests: whether the provider keeps state for them. It waits for the body as well.", state_filter(spec)]
    if settings.profile is Profile.FULL:
        filters += ["# Answers: token usage of JSON and SSE (OpenAI, Anthropic, Gemini). Alpha.", token_usage()]
    geoip = geoip_filter(spec)
    if geoip is not None and settings.profile is Profile.FULL:
        filters += ["# Where the client's address is. Envoy calls this filter work in progress.", geoip]
    filters += ["# The decision: one message with these headers only; dead, slow or silent routers mean stable.", ext_proc(spec, settings)]
    if samples(spec):
        said = (
            "# Copies of some requests and answers for the judge; nobody waits for them. Runtime key, of a million: "
            + contract.RUNTIME_SAMPLE
        )
        filters += [said, sampling_filter(spec)]
    filters += signals_filters(spec)
    if affinity_headers(spec) and settings.profile is Profile.FULL:
        filters += ["# Remembers what keeps a conversation on a replica.", affinity_filter(spec)]
    if written_on_routes(spec):
        filters += ["# Writes the model's name into bodies, on routes that ask for it.", send_model_filter(settings.profile)]
    return filters


def router_filter() -> Block:
    """Envoy's own last filter; it adds no x-envoy-* of its own."""
    return {"name": "envoy.filters.http.router", "typed_config": typed("filters.http.router.v3.Router", suppress_envoy_headers=True)}


def ext_proc(spec: Spec, settings: EnvoySettings) -> Block:
    """Request headers only, failing open. CLEAR re-routes after a reply that set a header."""
    layers = sorted({rollout.layer for rollout in spec.rollouts.values()})
    receiving = [contract.assignment_namespace(layer) for layer in layers]
    receiving += dict.fromkeys(namespace for _, namespace, _ in _handed_out(spec))
    forwarding = [contract.REQUEST_NAMESPACE] if reads_requests(spec) else []
    if spec.listener.jwt is not None and claims(spec):
        forwarding.append(contract.JWT_NAMESPACE)
    metadata: Block = {"forwarding_namespaces": {"untyped": forwarding}} if forwarding else {}
    metadata["receiving_namespaces"] = {"untyped": receiving}
    retry = {
        "retry_on": "connect-failure,refused-stream,reset,unavailable",
        "num_retries": 2,
        "retry_back_off": {"base_interval": "0.002s", "max_interval": "0.010s"},
    }
    modes = {
        "request_header_mode": "SEND",
        "response_header_mode": "SKIP",
        "request_body_mode": "NONE",
        "response_body_mode": "NONE",
        "request_trailer_mode": "SKIP",
        "response_trailer_mode": "SKIP",
    }
    config = typed(
        "filters.http.ext_proc.v3.ExternalProcessor",
        grpc_service={"envoy_grpc": {"cluster_name": contract.ROUTER_CLUSTER, "skip_envoy_headers": True}, "retry_policy": retry},
        failure_mode_allow=True,
        message_timeout=f"{settings.message_timeout:g}s",
        route_cache_action="CLEAR",
        disable_immediate_response=True,
        processing_mode=modes,
        forward_rules={"allowed_headers": {"patterns": [{"exact": name} for name in sorted(needed_headers(spec))]}},
        mutation_rules={"disallow_all": True, "allow_expression": {"regex": f"^{contract.HEADER_PREFIX}.*"}},
        metadata_options=metadata,
    )
    return {"name": EXT_PROC, "typed_config": config}


def access_log(spec: Spec, settings: EnvoySettings) -> list[Block]:
    """Every request's end, and each second of its life before, to the collector."""
    common: Block = {
        "log_name": contract.ACCESS_LOG_NAME,
        "transport_api_version": "V3",
        "grpc_service": {"envoy_grpc": {"cluster_name": contract.COLLECTOR_CLUSTER, "skip_envoy_headers": True}},
        "buffer_flush_interval": "0.1s",
        "buffer_size_bytes": 65536,
    }
    if settings.profile is Profile.FULL:
        state = "%FILTER_STATE(envoy.filters.http.ext_proc:FIELD:request_header_{field})%"
        common["custom_tags"] = [
            {"tag": contract.TTFT_TAG, "value": "%COMMON_DURATION(DS_RX_BEG:US_RX_BODY_BEG:us)%"},
            {"tag": contract.EXT_PROC_LATENCY_TAG, "value": state.format(field="latency_us")},
            {"tag": contract.EXT_PROC_STATUS_TAG, "value": state.format(field="call_status")},
        ]
    health = {"name": ":path", "string_match": {"exact": contract.HEALTH_PATH}, "invert_match": True}
    ours = {"header_filter": {"header": health}}
    posted = {"header_filter": {"header": {"name": ":path", "string_match": {"exact": contract.FEEDBACK_PATH}, "invert_match": True}}}
    return [
        {
            "name": "envoy.access_loggers.http_grpc",
            "filter": {"and_filter": {"filters": [ours, posted]}} if spec.feedback is not None else ours,
            "typed_config": typed("access_loggers.grpc.v3.HttpGrpcAccessLogConfig", common_config=common),
        }
    ]


def _handed_out(spec: Spec) -> list[tuple[str, str, str]]:
    """What answers carry for later requests: response header, and the metadata that holds it where the decision asks for it."""
    rollouts = spec.rollouts.values()
    conversations = [rollout.conversation for rollout in rollouts if rollout.conversation is not None]
    found = [("set-cookie", contract.COOKIE_NAMESPACE, contract.COOKIE_FIELD)] if any(one.unit.cookie for one in rollouts) else []
    for header in dict.fromkeys(one.header for one in conversations if one.header is not None):
        found.append((header, contract.CONVERSATION_NAMESPACE, contract.CONVERSATION_FIELD))
    if spec.feedback is not None and spec.feedback.tokens:
        found.append((contract.FEEDBACK_HEADER, contract.FEEDBACK_NAMESPACE, contract.FEEDBACK_FIELD))
    if any(one.cookie is not None for one in conversations):
        found.append(("set-cookie", contract.CONVERSATION_NAMESPACE, contract.CONVERSATION_COOKIE_FIELD))
    return found


def _handing_out(what: list[tuple[str, str, str]]) -> Block:
    """Absent metadata sets no header; cookies of a model stay, a token of one's own does not."""
    mutations = []
    for header, namespace, field in what:
        action = "APPEND_IF_EXISTS_OR_ADD" if header == "set-cookie" else "OVERWRITE_IF_EXISTS_OR_ADD"
        mutations.append(
            {"append": {"header": {"key": header, "value": f"%DYNAMIC_METADATA({namespace}:{field})%"}, "append_action": action}}
        )
    config = typed("filters.http.header_mutation.v3.HeaderMutation", mutations={"response_mutations": mutations})
    return {"name": "extproc.handing_out", "typed_config": config}


def _constant(spec: Spec) -> Block:
    metadata = [{"metadata_namespace": contract.CONFIG_NAMESPACE, "value": {"spec": spec.digest}}]
    return {"name": "envoy.filters.http.set_metadata", "typed_config": typed("filters.http.set_metadata.v3.Config", metadata=metadata)}


def _needs_buffer(spec: Spec, settings: EnvoySettings, unmatched_answered: bool) -> bool:
    """Where the virtual host's request_body_buffer_limit is not enough, and clients would get 413 above 1 MiB.

    Envoy 1.36 does not apply it before filters run (seen); 1.40 does, but not where the route until the model is known is one that
    Envoy answers itself (seen).
    """
    holds = reads_requests(spec) or any(model.send_model is not None for model in routed_models(spec))
    return (settings.profile is Profile.CORE and holds) or (unmatched_answered and reads_model(spec))


def buffer() -> Block:
    """Holds bodies up to BODY_LIMIT."""
    return {"name": "envoy.filters.http.buffer", "typed_config": typed("filters.http.buffer.v3.Buffer", max_request_bytes=BODY_LIMIT)}
