"""The HTTP filters, in the order in which a request meets them, and what happens before and after them."""

from __future__ import annotations

from typing import Any, Final

from extproc import contract
from extproc.domain import ListenerKind, Spec
from extproc.render.body import send_model_filter
from extproc.render.headers import needed_headers, stripped_at_the_door
from extproc.render.routes import BODY_LIMIT, EXT_PROC
from extproc.render.settings import EnvoySettings, Profile, routed_models
from extproc.render.yamltext import Block, typed

JSON_TYPES: Final = r"(?i)application/(?:[^;]*\+)?json\s*(?:;.*)?"
"""Envoy's default is `application/json` alone: with a charset behind it, a request would have no model (seen)."""


def early_mutations(spec: Spec) -> list[Block]:
    """What is removed before the first route is resolved: nothing from outside is believed that only we may say."""
    mutations: list[Block] = [{"remove_on_match": {"key_matcher": {"prefix": contract.HEADER_PREFIX}}}]
    if spec.listener.kind is ListenerKind.EDGE:
        mutations.append({"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}})
    mutations += [{"remove": name} for name in stripped_at_the_door(spec)]
    # Compressed answers would hide the token usage.
    mutations.append({"remove": "accept-encoding"})
    config = typed("http.early_header_mutation.header_mutation.v3.HeaderMutation", mutations=mutations)
    return [{"name": "envoy.http.early_header_mutation.header_mutation", "typed_config": config}]


def http_filters(spec: Spec, settings: EnvoySettings, unmatched_answered: bool) -> list[Any]:
    """Filters without the router at their end, with comments between them.

    `unmatched_answered`: Envoy itself answers what matches no rollout.
    """
    filters: list[Any] = []
    if _sets_cookie(spec):
        filters += ["# Sets the anonymous cookie, where the decision asks for one.", _cookie_out()]
    filters += ["# The access log drops typed metadata where there is no untyped (seen on 1.40).", _constant(spec)]
    if _needs_buffer(spec, settings, unmatched_answered):
        filters += ["# Long prompts: bodies up to this size are held; beyond it clients get 413.", _buffer()]
    if _reads_model(spec) or settings.profile is Profile.CORE:
        filters += ["# Requests: the model asked for. It waits for the body, and never rejects one.", _json_to_metadata(spec, settings)]
    if settings.profile is Profile.FULL:
        filters += ["# Answers: token usage of JSON and SSE (OpenAI, Anthropic, Gemini). Alpha.", _token_usage()]
    if spec.listener.geoip_database is not None and settings.profile is Profile.FULL:
        filters += [
            "# The country, from the client's address. Envoy calls this filter work in progress.",
            _geoip(spec, spec.listener.geoip_database),
        ]
    filters += ["# The decision: one message with these headers only; dead, slow or silent routers mean stable.", ext_proc(spec, settings)]
    if any(model.send_model is not None for model in routed_models(spec)):
        filters += ["# Writes the model's name into bodies, on routes that ask for it.", send_model_filter(settings.profile)]
    return filters


def router_filter() -> Block:
    """Envoy's own last filter; it adds no x-envoy-* of its own."""
    return {"name": "envoy.filters.http.router", "typed_config": typed("filters.http.router.v3.Router", suppress_envoy_headers=True)}


def ext_proc(spec: Spec, settings: EnvoySettings) -> Block:
    """Request headers only, failing open. CLEAR re-routes after a reply that set a header."""
    layers = sorted({rollout.layer for rollout in spec.rollouts.values()})
    receiving = [contract.assignment_namespace(layer) for layer in layers]
    if _sets_cookie(spec):
        receiving.append(contract.COOKIE_NAMESPACE)
    metadata: Block = {"receiving_namespaces": {"untyped": receiving}}
    if _reads_model(spec):
        metadata = {"forwarding_namespaces": {"untyped": [contract.REQUEST_NAMESPACE]}, **metadata}
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
        forward_rules={"allowed_headers": {"patterns": [{"exact": name} for name in needed_headers(spec)]}},
        mutation_rules={"disallow_all": True, "allow_expression": {"regex": f"^{contract.HEADER_PREFIX}.*"}},
        metadata_options=metadata,
    )
    return {"name": EXT_PROC, "typed_config": config}


def access_log(settings: EnvoySettings) -> list[Block]:
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
    return [
        {
            "name": "envoy.access_loggers.http_grpc",
            "filter": {"header_filter": {"header": health}},
            "typed_config": typed("access_loggers.grpc.v3.HttpGrpcAccessLogConfig", common_config=common),
        }
    ]


def _sets_cookie(spec: Spec) -> bool:
    return any(rollout.unit.cookie is not None for rollout in spec.rollouts.values())


def _reads_model(spec: Spec) -> bool:
    return any(rollout.match.models for rollout in spec.rollouts.values())


def _cookie_out() -> Block:
    value = f"%DYNAMIC_METADATA({contract.COOKIE_NAMESPACE}:{contract.COOKIE_FIELD})%"
    append = {"header": {"key": "set-cookie", "value": value}, "append_action": "APPEND_IF_EXISTS_OR_ADD"}
    config = typed("filters.http.header_mutation.v3.HeaderMutation", mutations={"response_mutations": [{"append": append}]})
    return {"name": "extproc.cookie_out", "typed_config": config}


def _constant(spec: Spec) -> Block:
    metadata = [{"metadata_namespace": contract.CONFIG_NAMESPACE, "value": {"spec": spec.digest}}]
    return {"name": "envoy.filters.http.set_metadata", "typed_config": typed("filters.http.set_metadata.v3.Config", metadata=metadata)}


def _needs_buffer(spec: Spec, settings: EnvoySettings, unmatched_answered: bool) -> bool:
    """Where the virtual host's request_body_buffer_limit is not enough, and clients would get 413 above 1 MiB.

    Envoy 1.36 does not apply it before filters run (seen); 1.40 does, but not where the route until the model is known is one that
    Envoy answers itself (seen).
    """
    holds = _reads_model(spec) or any(model.send_model is not None for model in routed_models(spec))
    return (settings.profile is Profile.CORE and holds) or (unmatched_answered and _reads_model(spec))


def _buffer() -> Block:
    return {"name": "envoy.filters.http.buffer", "typed_config": typed("filters.http.buffer.v3.Buffer", max_request_bytes=BODY_LIMIT)}


def _json_to_metadata(spec: Spec, settings: EnvoySettings) -> Block:
    config = typed("filters.http.json_to_metadata.v3.JsonToMetadata")
    if _reads_model(spec):
        config["request_rules"] = {
            "rules": [_rule(("model",), contract.REQUEST_NAMESPACE, contract.REQUEST_MODEL_FIELD, "STRING")],
            "allow_content_types_regex": {"regex": JSON_TYPES},
            "allow_empty_content_type": True,
        }
    if settings.profile is Profile.CORE:
        usage = contract.JSON_USAGE_NAMESPACE
        found = {
            "input": ("usage", "prompt_tokens"),
            "cached": ("usage", "prompt_tokens_details", "cached_tokens"),
            "output": ("usage", "completion_tokens"),
            "reasoning": ("usage", "completion_tokens_details", "reasoning_tokens"),
        }
        # No on_error: it also fires where the answer is not JSON.
        rules = [_rule(("model",), usage, "model", "STRING")]
        rules += [_rule(keys, usage, field, "NUMBER") for field, keys in found.items()]
        config["response_rules"] = {"rules": rules, "allow_content_types_regex": {"regex": JSON_TYPES}}
    return {"name": "envoy.filters.http.json_to_metadata", "typed_config": config}


def _rule(keys: tuple[str, ...], namespace: str, field: str, kind: str) -> Block:
    return {
        "selectors": [{"key": key} for key in keys],
        "on_present": {"metadata_namespace": namespace, "key": field, "type": kind},
    }


def _token_usage() -> Block:
    handling = {"token_usage": {"include_unconfigured_routes": True}}
    config = typed("filters.http.ai_protocol_manager.v3.AiProtocolManager", response_handling=handling)
    return {"name": "envoy.filters.http.ai_protocol_manager", "typed_config": config}


def _geoip(spec: Spec, database: str) -> Block:
    maxmind = {"country_db_path": database, "common_provider_config": {"geo_field_keys": {"country": spec.country_header}}}
    provider = {"name": "envoy.geoip_providers.maxmind", "typed_config": typed("geoip_providers.maxmind.v3.MaxMindConfig", **maxmind)}
    hops = {"xff_num_trusted_hops": spec.listener.trusted_hops}
    return {"name": "envoy.filters.http.geoip", "typed_config": typed("filters.http.geoip.v3.Geoip", xff_config=hops, provider=provider)}
