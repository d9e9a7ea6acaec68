"""One clause of a rule: an attribute, an operator, values; or the segments that a context may be in.

A clause about another kind than the context's, or about an attribute that is not there, is not met, and `negate` does not change that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from extproc.flags.flag import Attributes
from extproc.flags.launchdarkly.operators import OPERATORS, Operator, Test, test_of
from extproc.flags.launchdarkly.reading import Node
from extproc.flags.launchdarkly.reference import DEFAULT_KIND, Getter, getter, is_kind

Condition = Callable[[Attributes, str], bool]
"""(attributes, kind of the context) -> is it met."""
SegmentOf = Callable[[Node, str, str], Condition]
"""(clause, where in it, key of a segment) -> whether a context is in it."""


def never(_attributes: Attributes, _kind: str) -> bool:
    """Met by nobody."""
    return False


def clauses(rule: Node, segment_of: SegmentOf) -> Condition:
    """All clauses of a rule, in the order in which the SDK tries them; met by everybody if there is none."""
    return every([_clause(clause, segment_of) for clause in rule.nodes("clauses", required=True)])


def every(conditions: Sequence[Condition]) -> Condition:
    """All are met."""
    if len(conditions) == 1:
        return conditions[0]

    def met(attributes: Attributes, kind: str) -> bool:
        for condition in conditions:  # noqa: SIM110 (a generator costs more than the conditions themselves)
            if not condition(attributes, kind):
                return False
        return True

    return met


def some(conditions: Sequence[Condition], negate: bool = False) -> Condition:
    """One is met; negated, none is."""
    if len(conditions) == 1 and not negate:
        return conditions[0]

    def met(attributes: Attributes, kind: str) -> bool:
        for condition in conditions:
            if condition(attributes, kind):
                return not negate
        return negate

    return met


def _clause(node: Node, segment_of: SegmentOf) -> Condition:
    name, attribute = node.text("op", required=True), node.text("attribute", required=True)
    negate, kind = node.boolean("negate"), node.text("contextKind") or ""
    if name == "segmentMatch":
        keys = enumerate(node.texts("values", required=True))
        return some([segment_of(node, f"values[{index}]", key) for index, key in keys], negate)
    values = node.items("values", required=True)
    operator = OPERATORS.get(name) if name is not None else None
    if name is not None and operator is None:
        known = ", ".join(sorted([*OPERATORS, "segmentMatch"]))
        node.refuse("unsupported-operator", "op", f"the operator {name!r} is not known", f"known: {known}")
    get = getter(node, "attribute", attribute, bool(kind)) if attribute is not None else None
    if attribute is None or operator is None or name is None or get is None:
        return never
    test = test_of(operator, _parsed(node, name, operator, values))
    if is_kind(attribute, bool(kind)):
        return lambda _attributes, kind: test(kind) is not negate
    return _attribute(get, kind or DEFAULT_KIND, test, negate)


def _parsed(node: Node, name: str, operator: Operator, values: Sequence[Any]) -> list[Any]:
    parsed = []
    for index, value in enumerate(values):
        try:
            parsed.append(operator.parse(value))
        except ValueError as error:
            hint = f"{name} compares {operator.accepts}; LaunchDarkly's SDK would never match this value: mend or remove it"
            node.refuse("bad-value", f"values[{index}]", f"{name} cannot use {value!r}: {error}", hint)
    return parsed


def _attribute(get: Getter, wanted: str, test: Test, negate: bool) -> Condition:
    def met(attributes: Attributes, kind: str) -> bool:
        if kind != wanted:
            return False
        value = get(attributes, kind)
        if value is None:
            return False
        if isinstance(value, (list, tuple)):
            return any(map(test, value)) is not negate
        return test(value) is not negate

    return met
