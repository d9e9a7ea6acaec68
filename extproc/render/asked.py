"""What Envoy reads in bodies: which model a request asks for, whether it speaks of state that the provider keeps, what an answer cost."""

from __future__ import annotations

import json
from typing import Any, Final

from extproc import contract
from extproc.domain import Spec, reads_model, state_fields
from extproc.render.lua import TOP_KEYS, lua_filter, lua_string
from extproc.render.settings import Profile
from extproc.render.yamltext import Block, typed

JSON_TYPES: Final = r"(?i)application/(?:[^;]*\+)?json\s*(?:;.*)?"
"""Envoy's default is `application/json` alone: with a charset behind it, a request would have no model (seen)."""
_STATE: Final = """\
-- Tells the router that a request speaks of state which the provider keeps: one of these keys is at the top of its body, and its value is
-- neither null nor "". It says so by a constant: never what the state is, and all such requests look alike.
local wanted = {{{keys}}}
{top_keys}
local function json(kind)
  kind = (kind or 'application/json'):lower():match('^[^;]*'):gsub('%s+$', '')
  return kind == 'application/json' or kind:find('^application/.*%+json$') ~= nil
end
local function stated(text)
  for key, value in top_keys(text) do
    local begin = text:sub(value, value + 3)
    if wanted[key] and begin ~= '' and begin ~= 'null' and begin:sub(1, 2) ~= '""' then return true end
  end
  return false
end
function envoy_on_request(handle)
  if not json(handle:headers():get('content-type')) then return end
  local body = handle:body()
  if body == nil then return end
  local text = body:getBytes(0, body:length())
  for key in pairs(wanted) do
    if text:find(key, 1, true) then
      if stated(text) then handle:streamInfo():dynamicMetadata():set({namespace}, {field}, '1') end
      return
    end
  end
end
"""


def reads_requests(spec: Spec) -> bool:
    """True where a decision needs something of the request's body."""
    return reads_model(spec) or bool(state_fields(spec))


def state_filter(spec: Spec) -> Block:
    """Finds provider-side state. Not by json_to_metadata: with a constant value it finds what is not there (seen on 1.40), and an object
    it finds never."""
    keys = ", ".join(f"[{lua_string(json.dumps(field))}] = true" for field in state_fields(spec))
    namespace, field = lua_string(contract.REQUEST_NAMESPACE), lua_string(contract.REQUEST_STATE_FIELD)
    return lua_filter("extproc.state", _STATE.format(keys=keys, top_keys=TOP_KEYS.rstrip(), namespace=namespace, field=field))


def json_to_metadata(spec: Spec, profile: Profile) -> Block:
    """Reads JSON, and never rejects a body; in the core profile also the token usage of answers."""
    config = typed("filters.http.json_to_metadata.v3.JsonToMetadata")
    if reads_model(spec):
        config["request_rules"] = {
            "rules": [_rule(("model",), contract.REQUEST_NAMESPACE, contract.REQUEST_MODEL_FIELD, "STRING")],
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


def _rule(keys: tuple[str, ...], namespace: str, field: str, kind: str) -> Block:
    return {
        "selectors": [{"key": key} for key in keys],
        "on_present": {"metadata_namespace": namespace, "key": field, "type": kind},
    }
