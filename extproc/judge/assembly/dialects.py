"""Which format a body is of. What a body looks like says more than its path, which a gateway may have rewritten."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from extproc.domain import Dialect
from extproc.judge.assembly.shapes import Table, pick, table, tables, text

_PATHS: Final = (
    (re.compile(r"/chat/completions/?$"), Dialect.OPENAI_CHAT),
    (re.compile(r"/responses/?$"), Dialect.OPENAI_RESPONSES),
    (re.compile(r"/messages/?$|/publishers/anthropic/|:(?:stream)?rawpredict$"), Dialect.ANTHROPIC),
    (re.compile(r":(?:stream)?generatecontent$"), Dialect.GEMINI),
)
_LONGEST_PATH: Final = 2_000
_DEPLOYMENT: Final = re.compile(r"/deployments/([^/?]{1,200})/")
_ANTHROPIC: Final = frozenset(
    ("message", "message_start", "message_delta", "message_stop", "content_block_start", "content_block_delta", "content_block_stop")
)


def by_path(path: str) -> Dialect | None:
    """What a path is usually spoken with; its query says nothing."""
    bare = path[:_LONGEST_PATH].partition("?")[0].lower()
    return next((dialect for pattern, dialect in _PATHS if pattern.search(bare)), None)


def deployment(path: str) -> str:
    """The deployment that a path of Azure OpenAI names in the place of a model; empty where it names none."""
    found = _DEPLOYMENT.search(path[:_LONGEST_PATH])
    return found.group(1) if found else ""


def of_request(body: Table, path: str, answer: Dialect | None) -> Dialect | None:
    """The format of a request. `messages` alone could be OpenAI's or Anthropic's: then marks in the body decide, the path, the answer."""
    if isinstance(body.get("contents"), list | dict):
        return Dialect.GEMINI
    if isinstance(body.get("messages"), list):
        if _is_anthropic(body):
            return Dialect.ANTHROPIC
        likely = (one for one in (by_path(path), answer) if one in (Dialect.OPENAI_CHAT, Dialect.ANTHROPIC))
        return next(likely, Dialect.OPENAI_CHAT)
    if isinstance(body.get("input"), str | list) and (answer is Dialect.OPENAI_RESPONSES or by_path(path) is Dialect.OPENAI_RESPONSES):
        return Dialect.OPENAI_RESPONSES
    if by_path(path) is Dialect.OPENAI_RESPONSES and (body.get("prompt") or body.get("previous_response_id")):
        return Dialect.OPENAI_RESPONSES
    return None


def _is_anthropic(body: Table) -> bool:
    """What only Anthropic's requests have."""
    if "anthropic_version" in body or isinstance(body.get("system"), str | list):
        return True
    return any("input_schema" in tool for tool in tables(body.get("tools")))


def of_answer(documents: Iterable[tuple[str, Table]]) -> Dialect | None:
    """The format of an answer: of the first document that shows it."""
    return next((dialect for name, document in documents if (dialect := _of_document(name, document)) is not None), None)


def _of_document(name: str, document: Table) -> Dialect | None:
    kind, thing = text(document.get("type")) or name, text(document.get("object"))
    if isinstance(document.get("choices"), list):
        return Dialect.OPENAI_CHAT if thing.startswith("chat.completion") or thing == "" else None
    if thing == "response" or kind.startswith("response.") or (isinstance(document.get("output"), list) and "status" in document):
        return Dialect.OPENAI_RESPONSES
    if kind in _ANTHROPIC:
        return Dialect.ANTHROPIC
    if isinstance(document.get("candidates"), list) or table(pick(document, "promptFeedback", "prompt_feedback", "usageMetadata")):
        return Dialect.GEMINI
    return None
