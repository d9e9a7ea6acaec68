"""A flag: off, prerequisites, targets, rules, fallthrough, in this order.

A flag that is off is read to the end all the same: what it needs, and what is refused, does not change on the day it is turned on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from extproc.errors import Problem
from extproc.flags.flag import Attributes, Flag, FlagAnswer, FlagError
from extproc.flags.launchdarkly.bucketing import Pick, served, variation
from extproc.flags.launchdarkly.clauses import Condition, clauses
from extproc.flags.launchdarkly.reading import TYPE_HINT, Found, Node
from extproc.flags.launchdarkly.reference import DEFAULT_KIND
from extproc.flags.launchdarkly.segments import Segments

NO_ANSWER: Final = FlagAnswer(False, "", None)
"""Where the SDK gives the caller's default."""
NO_VARIATION: Final = -1
"""Where a flag serves none of its variations: it is off and has no off variation. No prerequisite asks for it."""

_KIND: Final = re.compile("[-a-zA-Z0-9._]+")
_RESERVED_KINDS: Final = frozenset({"kind", "multi"})


def compile_flag(document: Mapping[str, Any], key: str) -> Flag:
    """The flag `key` of a document {"flags": ..., "segments": ...}; FlagError with every Problem of it and of what it depends on."""
    found = Found([], {"key", "kind"})
    root = Node(document, "", found)
    flags = root.node("flags")
    if flags is not None:
        _find(flags, key)
        decide = Flags(flags, Segments(root)).pick(flags, key, key)
    elif not found.problems:
        root.refuse("malformed", "flags", "the document has no flags", TYPE_HINT)
    if flags is None or found.problems:
        raise FlagError(found.problems)
    answers = tuple(FlagAnswer(bool(value), str(index), value) for index, value in enumerate(flags.data[key].get("variations") or ()))
    return Flag(key, _evaluate(decide, (*answers, NO_ANSWER)), frozenset(found.needs), needs_time=False)


def _find(flags: Node, key: str) -> None:
    wanted = flags.data.get(key)
    if wanted is None:
        near = get_close_matches(key, flags.data, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the document has {len(flags.data)} flags"
        raise FlagError(Problem("flag.unknown", flags.at(key), f"there is no flag {key!r}", hint))
    if isinstance(wanted, Mapping) and wanted.get("deleted") is True:
        hint = "LaunchDarkly keeps only its grave: name another flag"
        raise FlagError(Problem("flag.unknown", flags.at(key), f"the flag {key!r} was deleted", hint))


def _evaluate(decide: Pick, answers: Sequence[FlagAnswer]) -> Callable[[Attributes, float], FlagAnswer]:
    """`answers` are those of the variations, and the one for none (index -1) at the end."""

    def evaluate(attributes: Attributes, _now: float) -> FlagAnswer:
        try:
            key = attributes.get("key")
            if not isinstance(key, str) or not key:
                return NO_ANSWER
            kind = attributes.get("kind", DEFAULT_KIND)
            if kind != DEFAULT_KIND:
                if not isinstance(kind, str):
                    kind = DEFAULT_KIND
                elif kind in _RESERVED_KINDS or not _KIND.fullmatch(kind):
                    return NO_ANSWER
            return answers[decide(attributes, kind)]
        except Exception:
            # The SDK's client catches whatever an evaluation raises (text that is no Unicode, a number too large) and gives the default.
            return NO_ANSWER

    return evaluate


class Flags:
    """The document's flags, each compiled once, and only if it is asked for."""

    def __init__(self, flags: Node, segments: Segments) -> None:
        self._flags = flags
        self._segments = segments
        self._compiled: dict[str, Pick] = {}
        self._open: list[str] = []
        """Flags that are being compiled, outermost first."""

    def pick(self, asking: Node, where: str, key: str) -> Pick:
        """The variation that a flag serves. `asking` and `where` say who depends on it."""
        if key in self._open:
            circle = " -> ".join([*self._open[self._open.index(key) :], key])
            asking.refuse(
                "cycle", where, f"flags are each other's prerequisites in a circle: {circle}", "remove one of these prerequisites"
            )
            return _none
        if key not in self._compiled:
            self._compiled[key] = self._compile(asking, where, key)
        return self._compiled[key]

    def _compile(self, asking: Node, where: str, key: str) -> Pick:
        if self._flags.data.get(key) is None:
            hint = "export all flags together, so that the document holds everything that its rules ask for"
            asking.refuse("unknown-prerequisite", where, f"there is no flag {key!r}", hint)
            return _none
        node = self._flags.node(key)
        if node is None or node.boolean("deleted"):
            return _none
        node.check_key(key)
        self._open.append(key)
        try:
            prerequisites = tuple(self._prerequisite(one) for one in node.nodes("prerequisites"))
        finally:
            self._open.pop()
        return _flag(node, key, prerequisites, self._segments)

    def _prerequisite(self, node: Node) -> tuple[Pick, int]:
        key = node.text("key", required=True)
        if key is None:
            return _none, 0
        pick = self.pick(node, "key", key)
        other = self._flags.data.get(key)
        if not isinstance(other, Mapping) or other.get("deleted") is True:
            # Asked for a flag that is no more: never fulfilled.
            return pick, 0
        variations = other.get("variations")
        wanted = variation(node, len(variations) if isinstance(variations, list) else 0)
        # A flag that is off fulfils nothing, whatever its off variation.
        return (pick if other.get("on") is True else _none), wanted


def _none(_attributes: Attributes, _kind: str) -> int:
    return NO_VARIATION


def _flag(node: Node, key: str, prerequisites: Sequence[tuple[Pick, int]], segments: Segments) -> Pick:
    salt, count = node.text("salt") or "", len(node.items("variations"))
    off = NO_VARIATION if node.data.get("offVariation") is None else variation(node, count, "offVariation")
    targets = _targets(node, count)
    rules = tuple((clauses(rule, segments.condition), served(rule, key, salt, count)) for rule in node.nodes("rules"))
    fallthrough = node.node("fallthrough")
    if fallthrough is None:
        if node.data.get("fallthrough") is None:
            node.refuse("malformed", "fallthrough", "must be an object and is missing", TYPE_HINT)
        return _none
    otherwise = served(fallthrough, key, salt, count)
    if not node.boolean("on"):
        return lambda _attributes, _kind: off
    return _on(prerequisites, off, targets, rules, otherwise)


def _on(
    prerequisites: Sequence[tuple[Pick, int]],
    off: int,
    targets: Mapping[str, Mapping[str, int]],
    rules: Sequence[tuple[Condition, Pick]],
    fallthrough: Pick,
) -> Pick:
    def decide(attributes: Attributes, kind: str) -> int:
        for pick, wanted in prerequisites:
            if pick(attributes, kind) != wanted:
                return off
        if targets:
            index = targets.get(kind, _NO_TARGETS).get(attributes["key"])
            if index is not None:
                return index
        for condition, pick in rules:
            if condition(attributes, kind):
                return pick(attributes, kind)
        return fallthrough(attributes, kind)

    return decide


_NO_TARGETS: Final[Mapping[str, int]] = {}


def _targets(node: Node, count: int) -> Mapping[str, Mapping[str, int]]:
    """Kind -> key -> variation, the first target that names a key.

    `targets` name users. Where there are `contextTargets` these alone give the order; one for users holds no keys itself but stands for
    the first of `targets` with its variation, and a user target that none stands for is never asked.
    """
    users = [(variation(one, count), one.texts("values", required=True)) for one in node.nodes("targets")]
    named: dict[str, dict[str, int]] = {}
    others = node.nodes("contextTargets")
    for one in others:
        kind, index, keys = one.text("contextKind") or DEFAULT_KIND, variation(one, count), one.texts("values", required=True)
        if kind == DEFAULT_KIND:
            keys = next((keys for other, keys in users if other == index), [])
        for key in keys:
            named.setdefault(kind, {}).setdefault(key, index)
    if not others:
        for index, keys in users:
            for key in keys:
                named.setdefault(DEFAULT_KIND, {}).setdefault(key, index)
    return named
