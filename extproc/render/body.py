"""Writing the model's name into a request body, on the way to that model only: other bodies stay byte for byte as they came."""

from __future__ import annotations

import json
from typing import Final

from extproc.render.settings import Profile
from extproc.render.yamltext import Block, typed

TRANSFORM: Final = "envoy.filters.http.transform"
LUA: Final = "envoy.filters.http.lua"

_SCRIPT: Final = """\
-- Replaces the value of the top-level key "model" in a JSON body; every other byte stays as it is.
local wanted = %(model)s
local function string_end(text, start)
  local at = start + 1
  while true do
    at = text:find('["\\\\]', at)
    if not at then return nil end
    if text:sub(at, at) == '"' then return at end
    at = at + 2
  end
end
local function with_model(text)
  local parts, copied, depth, at = {}, 1, 0, 1
  while true do
    local start = text:find('["{}%%[%%]]', at)
    if not start then break end
    local sign = text:sub(start, start)
    at = start + 1
    if sign == '"' then
      local stop = string_end(text, start)
      if not stop then return nil end
      at = stop + 1
      if depth == 1 and text:sub(start, stop) == '"model"' then
        local _, colon = text:find('^%%s*:%%s*', at)
        if colon and text:sub(colon + 1, colon + 1) == '"' then
          local value_end = string_end(text, colon + 1)
          if not value_end then return nil end
          parts[#parts + 1] = text:sub(copied, colon) .. wanted
          copied = value_end + 1
          at = copied
        end
      end
    elseif sign == '{' or sign == '[' then
      depth = depth + 1
    else
      depth = depth - 1
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
    return _SCRIPT % {"model": lua_string(json.dumps(name, ensure_ascii=False))}


def lua_string(text: str) -> str:
    """A Lua literal of these characters (control characters cannot be in a Spec)."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
