"""Builders' dictionaries -> YAML text with comments.

A comment is a list item, or a key whose value is None, that starts with `# `; it becomes a comment line at its place.
Such a key has at most 120 characters: YAML writes longer ones in another way.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

Block = dict[str, Any]
_COMMENT: Final = re.compile(r"^(?P<indent> *)(?:- )?(?P<quote>['\"]?)(?P<text># .*?)(?P=quote)(?:: null)?$", re.MULTILINE)


class _Plain(yaml.SafeDumper):
    """No anchors: each part of the file can be read, and copied, on its own."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - lists are always indented
        super().increase_indent(flow, False)


def typed(name: str, **fields: Any) -> Block:
    """A `typed_config`: the message `envoy.extensions.<name>` with these fields."""
    return {"@type": f"type.googleapis.com/envoy.extensions.{name}", **fields}


def dump(document: Block, heading: str) -> str:
    """YAML text that begins with `heading`, each of its lines a comment."""
    text = yaml.dump(document, Dumper=_Plain, sort_keys=False, width=1_000_000, allow_unicode=True)
    head = "".join(f"# {line}".rstrip() + "\n" for line in heading.splitlines())
    return head + _COMMENT.sub(lambda found: found["indent"] + found["text"].replace("''", "'"), text)


def plain(value: Any) -> Any:
    """Builders' data without comments: what a YAML parser would read from the text."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items() if not (inner is None and key.startswith("# "))}
    if isinstance(value, list):
        return [plain(inner) for inner in value if not (isinstance(inner, str) and inner.startswith("# "))]
    return value
