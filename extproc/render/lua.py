"""Lua for Envoy's filters: literals, and how a script finds its way in a JSON body without reading it as a whole."""

from __future__ import annotations

from typing import Final

from extproc.render.yamltext import Block, typed

TOP_KEYS: Final = """\
local function string_end(text, start)
  local at = start
  while true do
    at = text:find('"', at + 1, true)
    if not at then return nil end
    local before = at - 1
    while text:byte(before) == 92 do before = before - 1 end
    -- An even number of backslashes before it: this quote is not escaped.
    if (at - before) % 2 == 1 then return at end
  end
end
-- Each key of the object at the top, in its quotes, and where its value begins.
local function top_keys(text)
  local depth, at = 0, 1
  return function()
    while true do
      local start = text:find('["{}%[%]]', at)
      if not start then return nil end
      local sign = text:sub(start, start)
      at = start + 1
      if sign == '"' then
        local stop = string_end(text, start)
        if not stop then return nil end
        at = stop + 1
        if depth == 1 then
          local _, colon = text:find('^%s*:%s*', at)
          if colon then return text:sub(start, stop), colon + 1 end
        end
      elseif sign == '{' or sign == '[' then
        depth = depth + 1
      else
        depth = depth - 1
      end
    end
  end
end
"""
"""Functions for the head of a script. Strings are leapt over from quote to quote: a prompt costs the quotes in it, not its length."""


def lua_string(text: str) -> str:
    """A Lua literal of these characters (control characters cannot be in a Spec)."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def lua_filter(name: str, script: str) -> Block:
    """A filter that runs this script for every request that meets it."""
    return {"name": name, "typed_config": typed("filters.http.lua.v3.Lua", default_source_code={"inline_string": script})}
