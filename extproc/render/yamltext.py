"""Builders' dictionaries -> YAML text with comments.

A comment is a list item, or a key whose value is None, that starts with `# `; it becomes a comment line at its place.
Such a key has at most 120 characters: YAML writes longer ones in another way.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

Block = dict[str, Any]
WIDTH: Final = 120
"""Characters of a part that is short enough for one line."""
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


class _Short(_Plain):
    """What fits in a line is in one; not for documents with comments."""

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        return super().represent_mapping(tag, mapping, flow_style or _fits(mapping))

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        return super().represent_sequence(tag, sequence, flow_style or _fits(sequence))


def _fits(value: Any) -> bool:
    return len(yaml.dump(value, Dumper=_Plain, default_flow_style=True, width=WIDTH * 100)) <= WIDTH


def dump(document: Block, heading: str, *, short: bool = False) -> str:
    """YAML text that begins with `heading`, each of its lines a comment. `short`: inner parts that fit, without comments, in one line."""
    text = yaml.dump(document, Dumper=_Short if short else _Plain, sort_keys=False, width=1_000_000, allow_unicode=True)
    head = "".join(f"# {line}".rstrip() + "\n" for line in heading.splitlines())
    return head + _COMMENT.sub(lambda found: found["indent"] + found["text"].replace("''", "'"), text)


def plain(value: Any) -> Any:
    """Builders' data without comments: what a YAML parser would read from the text."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items() if not (inner is None and key.startswith("# "))}
    if isinstance(value, list):
        return [plain(inner) for inner in value if not (isinstance(inner, str) and inner.startswith("# "))]
    return value
