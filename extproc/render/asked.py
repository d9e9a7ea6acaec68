"""What Envoy reads in bodies: which model a request asks for, whether it speaks of state that the provider keeps, what an answer cost."""

from __future__ import annotations

from typing import Any, Final

from extproc import contract
from extproc.domain import Spec, reads_model, state_fields
from extproc.render.settings import Profile
from extproc.render.yamltext import Block, typed

JSON_TYPES: Final = r"(?i)application/(?:[^;]*\+)?json\s*(?:;.*)?"
"""Envoy's default is `application/json` alone: with a charset behind it, a request would have no model (seen)."""
STATED: Final = "1"
"""What stands for provider-side state: a constant, so that it tells nothing and all such requests look alike to the router."""


def reads_requests(spec: Spec) -> bool:
    """True where a decision needs something of the request's body."""
    return reads_model(spec) or bool(state_fields(spec))


def json_to_metadata(spec: Spec, profile: Profile) -> Block:
    """Reads JSON, and never rejects a body; in the core profile also the token usage of answers."""
    config = typed("filters.http.json_to_metadata.v3.JsonToMetadata")
    if reads_requests(spec):
        rules = [_state(field) for field in state_fields(spec)]
        if reads_model(spec):
            rules.insert(0, _rule(("model",), contract.REQUEST_NAMESPACE, contract.REQUEST_MODEL_FIELD, "STRING"))
        config["request_rules"] = {
            "rules": rules,
            "allow_content_types_regex": {"regex": JSON_TYPES},
            "allow_empty_content_type": True,
        }
    if profile is Profile.CORE:
        config["response_rules"] = {"rules": _usage(), "allow_content_types_regex": {"regex": JSON_TYPES}}
    return {"name": "envoy.filters.http.json_to_metadata", "typed_config": config}


def token_usage() -> Block:
    """Token usage of JSON and SSE answers, whoever made them."""
    handling = {"token_usage": {"include_unconfigured_routes": True}}
    config = typed("filters.http.ai_protocol_manager.v3.AiProtocolManager", response_handling=handling)
    return {"name": "envoy.filters.http.ai_protocol_manager", "typed_config": config}


def _usage() -> list[Any]:
    """Rules for OpenAI's JSON answers. No on_error: it also fires where the answer is not JSON."""
    usage = contract.JSON_USAGE_NAMESPACE
    found = {
        "input": ("usage", "prompt_tokens"),
        "cached": ("usage", "prompt_tokens_details", "cached_tokens"),
        "output": ("usage", "completion_tokens"),
        "reasoning": ("usage", "completion_tokens_details", "reasoning_tokens"),
    }
    return [_rule(("model",), usage, "model", "STRING"), *(_rule(keys, usage, field, "NUMBER") for field, keys in found.items())]


def _state(field: str) -> Block:
    present = {"metadata_namespace": contract.REQUEST_NAMESPACE, "key": contract.REQUEST_STATE_FIELD, "value": STATED}
    return {"selectors": [{"key": field}], "on_present": present}


def _rule(keys: tuple[str, ...], namespace: str, field: str, kind: str) -> Block:
    return {
        "selectors": [{"key": key} for key in keys],
        "on_present": {"metadata_namespace": namespace, "key": field, "type": kind},
    }
