"""Writing the model's name into a request body, on the way to that model only: other bodies stay byte for byte as they came."""

from __future__ import annotations

import json
from typing import Final

from extproc.render.lua import TOP_KEYS, lua_string
from extproc.render.settings import Profile
from extproc.render.yamltext import Block, typed

TRANSFORM: Final = "envoy.filters.http.transform"
LUA: Final = "envoy.filters.http.lua"

_SCRIPT: Final = """\
-- Replaces the value of the top-level key "model" in a JSON body; every other byte stays as it is.
local wanted = {model}
{top_keys}
local function with_model(text)
  local parts, copied = {{}}, 1
  for key, value in top_keys(text) do
    if key == '"model"' and text:sub(value, value) == '"' then
      local stop = string_end(text, value)
      if not stop then return nil end
      parts[#parts + 1] = text:sub(copied, value - 1) .. wanted
      copied = stop + 1
    end
  end
  if #parts == 0 then return nil end
  return table.concat(parts) .. text:sub(copied)
end
function envoy_on_request(handle)
  local body = handle:body()
  if body == nil then return end
  local changed = with_model(body:getBytes(0, body:length()))
  if changed then
    handle:headers():replace("content-length", tostring(body:setBytes(changed)))
  end
end
"""


def send_model_filter(profile: Profile) -> Block:
    """The filter, idle except on routes that configure it. `transform` is alpha; in the core profile Lua does its work."""
    if profile is Profile.FULL:
        return {"name": TRANSFORM, "typed_config": typed("filters.http.transform.v3.TransformConfig")}
    return {"name": LUA, "typed_config": typed("filters.http.lua.v3.Lua")}


def send_model(name: str, profile: Profile) -> Block:
    """`typed_per_filter_config` of a route to a model that wants its own name in the body."""
    if profile is Profile.FULL:
        merge = {"action": "MERGE", "body_format": {"json_format": {"model": name.replace("%", "%%")}}}
        config = typed("filters.http.transform.v3.TransformConfig", request_transformation={"body_transformation": merge})
        return {TRANSFORM: config}
    return {LUA: typed("filters.http.lua.v3.LuaPerRoute", source_code={"inline_string": send_model_script(name)})}


def send_model_script(name: str) -> str:
    """Lua that writes this name into bodies: for a route in the core profile, for a cluster where another one may have been tried first."""
    return _SCRIPT.format(model=lua_string(json.dumps(name, ensure_ascii=False)), top_keys=TOP_KEYS.rstrip())
