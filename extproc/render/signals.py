"""What Envoy tells of users for the access log alone: their session, that their library tries again, and what they ask as a hash.

Nothing of it delays a request or changes one, and only what the Spec compares is looked at.
"""

from __future__ import annotations

from typing import Any, Final

from extproc import contract
from extproc.domain import SourceKind, Spec, compares
from extproc.measures import REGENERATES, RETRIES, SESSION_LENGTH
from extproc.render.lua import lua_filter, lua_string
from extproc.render.yamltext import Block, typed

RETRY_COUNT: Final = "x-stainless-retry-count"
"""OpenAI's and Anthropic's client libraries say here how many times they have tried before: 0 at first."""
WINDOW: Final = 16384
"""Bytes of a body's beginning, and of its end, that are looked at. A longer body is taken for the same as another one where these and its
length are the same; so what a hash costs has a bound, about a tenth of a millisecond."""
PROMPT: Final = "extproc.prompt"
"""Name of the filter that hashes."""
_PROMPT: Final = """\
-- What is asked, as a number for the access log: whether the same is asked again can be seen, and what it is cannot. Nobody waits for it.
local window = {window}
local function hash(text)
  local sum, last = 0, #text
  for at = 1, last - 1, 2 do
    local one, two = text:byte(at, at + 1)
    -- A prime below 2^36, and a factor that leaves every product exact in Lua's numbers.
    sum = (sum * 69069 + one * 256 + two + 1) % 68719476731
  end
  if last % 2 == 1 then sum = (sum * 69069 + text:byte(last) + 1) % 68719476731 end
  return sum
end
function envoy_on_request(handle)
  local head, tail, length = '', '', 0
  for chunk in handle:bodyChunks() do
    local size, from = chunk:length(), 0
    length = length + size
    if size > 0 and #head < window then
      from = math.min(size, window - #head)
      head = head .. chunk:getBytes(0, from)
    end
    if from < size then
      local rest = math.min(size - from, window)
      tail = (tail .. chunk:getBytes(size - rest, rest)):sub(-window)
    end
  end
  if length > 0 then
    local said = string.format('%d-%.0f', length, hash(head .. tail))
    handle:streamInfo():dynamicMetadata():set({namespace}, {field}, said)
  end
end
"""


def signals_filters(spec: Spec) -> list[Any]:
    """The filters with a comment before each; none where nothing of this is compared."""
    filters: list[Any] = []
    rules = _rules(spec)
    if rules:
        config = typed("filters.http.header_to_metadata.v3.Config", request_rules=rules)
        filters += [
            "# For the access log: the session, and whether the client's library tries again.",
            {"name": "envoy.filters.http.header_to_metadata", "typed_config": config},
        ]
    if _asks_again(spec):
        namespace, field = lua_string(contract.SIGNALS_NAMESPACE), lua_string(contract.SIGNAL_PROMPT)
        script = _PROMPT.format(window=WINDOW, namespace=namespace, field=field)
        filters += ["# For the access log: what is asked, as a hash of the body, so that asking again is seen.", lua_filter(PROMPT, script)]
    return filters


def _rules(spec: Spec) -> list[Block]:
    rules: list[Block] = []
    if _asks_again(spec):
        rules.append({"header": RETRY_COUNT, "on_header_present": _into(contract.SIGNAL_RETRY)})
    if spec.sessions is not None and compares(spec, SESSION_LENGTH.name):
        where = "cookie" if spec.sessions.source.kind is SourceKind.COOKIE else "header"
        rules.append({where: spec.sessions.source.name, "on_header_present": _into(contract.SIGNAL_SESSION)})
    return rules


def _asks_again(spec: Spec) -> bool:
    return compares(spec, RETRIES.name) or compares(spec, REGENERATES.name)


def _into(field: str) -> Block:
    return {"metadata_namespace": contract.SIGNALS_NAMESPACE, "key": field, "type": "STRING"}
