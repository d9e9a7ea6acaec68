"""HTTP filters in their order, and what happens before the first of them."""

from __future__ import annotations

from typing import Any

from extproc import contract
from extproc.domain import Spec
from extproc.render.headers import needed_headers, stripped_early
from extproc.render.settings import EnvoySettings, Profile
from extproc.render.words import typed

MESSAGE_TIMEOUT = "0.050s"
"""How long Envoy waits for a decision before it serves stable without one."""
_MUTATION = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"


def early_mutations(spec: Spec) -> list[dict[str, Any]]:
    """Before the first route is resolved: nothing of ours from outside, no identity that nobody vouches for, no gzip (it hides tokens)."""
    mutations: list[dict[str, Any]] = [{"remove_on_match": {"key_matcher": {"prefix": contract.HEADER_PREFIX}}}]
    mutations += [{"remove": header} for header in (*stripped_early(spec), "accept-encoding")]
    config = typed("envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation", mutations=mutations)
    return [{"name": "envoy.http.early_header_mutation.header_mutation", "typed_config": config}]


def http_filters(spec: Spec, settings: EnvoySettings) -> list[dict[str, Any]]:
    """All filters but the terminal one."""
    full = settings.profile is Profile.FULL
    by_model = any(rollout.match.models for rollout in spec.rollouts.values())
    filters = [_cookie_out(), _constant_metadata()]
    if by_model or not full:
        filters.append(_json_to_metadata(by_model, tokens=not full))
    if by_model:
        filters.append(_resolve_route_again())
    if full:
        filters.append(_token_usage())
    if full and spec.listener.geoip_database is not None:
        filters.append(_geoip(spec, spec.listener.geoip_database))
    filters.append(_ext_proc(spec))
    if full and any(model.send_model is not None for model in spec.models.values()):
        name = "envoy.filters.http.transform"
        filters.append({"name": name, "typed_config": typed("envoy.extensions.filters.http.transform.v3.TransformConfig")})
    return filters


def router_filter() -> dict[str, Any]:
    """The terminal filter; it tells the models nothing about us."""
    return {
        "name": "envoy.filters.http.router",
        "typed_config": typed("envoy.extensions.filters.http.router.v3.Router", suppress_envoy_headers=True),
    }


def _cookie_out() -> dict[str, Any]:
    value = f"%DYNAMIC_METADATA({contract.COOKIE_NAMESPACE}:{contract.COOKIE_FIELD})%"
    append = {"header": {"key": "set-cookie", "value": value}, "append_action": "APPEND_IF_EXISTS_OR_ADD"}
    config = typed(_MUTATION, mutations={"response_mutations": [{"append": append}]})
    return {"name": "extproc.cookie", "typed_config": config}


def _constant_metadata() -> dict[str, Any]:
    config = typed(
        "envoy.extensions.filters.http.set_metadata.v3.Config",
        metadata=[{"metadata_namespace": contract.CONFIG_NAMESPACE, "value": {"rendered": True}}],
    )
    return {"name": "envoy.filters.http.set_metadata", "typed_config": config}


def _json_to_metadata(by_model: bool, tokens: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if by_model:
        rule = _json_rule(contract.REQUEST_NAMESPACE, contract.REQUEST_MODEL_FIELD, "STRING", "model")
        fields["request_rules"] = {"rules": [rule], "allow_content_types_regex": {"regex": "application/.*json.*"}}
    if tokens:
        usage = contract.JSON_USAGE_NAMESPACE
        rules = [
            _json_rule(usage, "model", "STRING", "model"),
            _json_rule(usage, "input", "NUMBER", "usage", "prompt_tokens"),
            _json_rule(usage, "cached", "NUMBER", "usage", "prompt_tokens_details", "cached_tokens"),
            _json_rule(usage, "output", "NUMBER", "usage", "completion_tokens"),
            _json_rule(usage, "reasoning", "NUMBER", "usage", "completion_tokens_details", "reasoning_tokens"),
        ]
        fields["response_rules"] = {"rules": rules}
    return {
        "name": "envoy.filters.http.json_to_metadata",
        "typed_config": typed("envoy.extensions.filters.http.json_to_metadata.v3.JsonToMetadata", **fields),
    }


def _json_rule(namespace: str, key: str, kind: str, *path: str) -> dict[str, Any]:
    return {"selectors": [{"key": one} for one in path], "on_present": {"metadata_namespace": namespace, "key": key, "type": kind}}


def _resolve_route_again() -> dict[str, Any]:
    """Routes that look at the requested model exist only from here on; the value set is of no use, clearing the route cache is."""
    value = {
        "object_key": "extproc.model_read",
        "factory_key": "envoy.string",
        "format_string": {"text_format_source": {"inline_string": "yes"}},
    }
    config = typed("envoy.extensions.filters.http.set_filter_state.v3.Config", on_request_headers=[value], clear_route_cache=True)
    return {"name": "envoy.filters.http.set_filter_state", "typed_config": config}


def _token_usage() -> dict[str, Any]:
    config = typed(
        "envoy.extensions.filters.http.ai_protocol_manager.v3.AiProtocolManager",
        response_handling={"token_usage": {"include_unconfigured_routes": True}},
    )
    return {"name": "envoy.filters.http.ai_protocol_manager", "typed_config": config}


def _geoip(spec: Spec, database: str) -> dict[str, Any]:
    provider = typed(
        "envoy.extensions.geoip_providers.maxmind.v3.MaxMindConfig",
        country_db_path=database,
        common_provider_config={"geo_field_keys": {"country": spec.country_header}},
    )
    fields: dict[str, Any] = {"provider": {"name": "envoy.geoip_providers.maxmind", "typed_config": provider}}
    if spec.listener.trusted_hops:
        fields["xff_config"] = {"xff_num_trusted_hops": spec.listener.trusted_hops}
    return {"name": "envoy.filters.http.geoip", "typed_config": typed("envoy.extensions.filters.http.geoip.v3.Geoip", **fields)}


def _ext_proc(spec: Spec) -> dict[str, Any]:
    layers = dict.fromkeys(rollout.layer for rollout in spec.rollouts.values())
    receiving = [*(contract.assignment_namespace(layer) for layer in layers), contract.COOKIE_NAMESPACE]
    skipped = {"request_body_mode": "NONE", "response_body_mode": "NONE", "request_trailer_mode": "SKIP", "response_trailer_mode": "SKIP"}
    config = typed(
        "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
        grpc_service={
            "envoy_grpc": {"cluster_name": contract.ROUTER_CLUSTER, "skip_envoy_headers": True},
            "retry_policy": {
                "retry_on": "connect-failure,refused-stream,reset,unavailable",
                "num_retries": 2,
                "retry_back_off": {"base_interval": "0.002s", "max_interval": "0.010s"},
            },
        },
        failure_mode_allow=True,
        message_timeout=MESSAGE_TIMEOUT,
        route_cache_action="CLEAR",
        disable_immediate_response=True,
        processing_mode={"request_header_mode": "SEND", "response_header_mode": "SKIP", **skipped},
        forward_rules={"allowed_headers": {"patterns": [{"exact": header} for header in needed_headers(spec)]}},
        mutation_rules={"disallow_all": True, "allow_expression": {"regex": f"^{contract.HEADER_PREFIX}.*"}},
        metadata_options={
            "forwarding_namespaces": {"untyped": [contract.REQUEST_NAMESPACE]},
            "receiving_namespaces": {"untyped": receiving},
        },
    )
    return {"name": "envoy.filters.http.ext_proc", "typed_config": config}
