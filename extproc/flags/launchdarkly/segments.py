"""Segments: named sets of contexts, by key or by rule. A rule's clauses may ask for other segments, never in a circle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from extproc.flags.flag import Attributes
from extproc.flags.launchdarkly.bucketing import WEIGHT_OF_ALL, bucket_of, weight
from extproc.flags.launchdarkly.clauses import Condition, clauses, every, never, some
from extproc.flags.launchdarkly.reading import Node
from extproc.flags.launchdarkly.reference import DEFAULT_KIND

Members = Mapping[str, frozenset[str]]
"""Kind of context -> keys."""

_NOBODY: Final[frozenset[str]] = frozenset()


class Segments:
    """The document's segments, each compiled once, and only if a rule asks for it."""

    def __init__(self, document: Node) -> None:
        self._known = document.node("segments")
        self._compiled: dict[str, Condition] = {}
        self._open: list[str] = []
        """Segments that are being compiled, outermost first."""

    def condition(self, clause: Node, where: str, key: str) -> Condition:
        """Whether a context is in the segment that a clause names."""
        if key in self._open:
            circle = " -> ".join([*self._open[self._open.index(key) :], key])
            clause.refuse("cycle", where, f"segments ask for each other in a circle: {circle}", "take one of them out of the other's rules")
            return never
        if key not in self._compiled:
            self._compiled[key] = self._compile(clause, where, key)
        return self._compiled[key]

    def _compile(self, clause: Node, where: str, key: str) -> Condition:
        if self._known is None or self._known.data.get(key) is None:
            hint = "export flags and segments together, so that the document holds everything that its rules ask for"
            clause.refuse("unknown-segment", where, f"there is no segment {key!r}", hint)
            return never
        node = self._known.node(key)
        if node is None or node.boolean("deleted"):
            return never
        self._open.append(key)
        try:
            return _segment(node, key, self)
        finally:
            self._open.pop()


def _segment(node: Node, key: str, segments: Segments) -> Condition:
    node.check_key(key)
    if node.boolean("unbounded"):
        hint = "its members are kept outside of the document: use a segment of rules or of a list in this flag"
        node.refuse("big-segment", "unbounded", "big segments are not supported", hint)
    included, excluded = _members(node, "included"), _members(node, "excluded")
    salt = node.text("salt") or ""
    by_rule = some([_rule(rule, key, salt, segments) for rule in node.nodes("rules")])

    def met(attributes: Attributes, kind: str) -> bool:
        unit = attributes["key"]
        if unit in included.get(kind, _NOBODY):
            return True
        if unit in excluded.get(kind, _NOBODY):
            return False
        return by_rule(attributes, kind)

    return met


def _members(node: Node, name: str) -> Members:
    members = {DEFAULT_KIND: set(node.texts(name))}
    for target in node.nodes(f"{name}Contexts"):
        members.setdefault(target.text("contextKind") or DEFAULT_KIND, set()).update(target.texts("values", required=True))
    return {kind: frozenset(keys) for kind, keys in members.items()}


def _rule(node: Node, key: str, salt: str, segments: Segments) -> Condition:
    met, given = clauses(node, segments.condition), weight(node, required=False)
    return met if given is None else every([met, _share(node, f"{key}.{salt}", given / WEIGHT_OF_ALL)])


def _share(node: Node, prefix: str, share: float) -> Condition:
    bucket = bucket_of(node, prefix, node.text("bucketBy"), node.text("rolloutContextKind"))
    return lambda attributes, kind: bucket(attributes, kind) < share
