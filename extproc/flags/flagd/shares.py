"""fractional, starts_with, ends_with and sem_ver in a rule: what can be checked is checked at load, and the fastest form is chosen.

A fraction, version or argument that could never have an effect in flagd (it logs an error and answers nothing) is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from extproc.flags.flagd import fractional as bucketing
from extproc.flags.flagd import texts
from extproc.flags.flagd.expression import Expression, folded
from extproc.flags.flagd.names import FLAGD, TARGETING_KEY
from extproc.flags.flagd.rule import Place, Rule, shown

NEVER_LISTS: Final = frozenset({"var", "cat", "substr"})
"""Operations whose answer is no list, as attributes are texts, numbers and bools."""


def fractional(rule: Rule, raw: Sequence[Any], arguments: Sequence[Expression], place: Place) -> Expression:
    """Shares of units: by [flag key, targetingKey], or by the first argument where that is no list."""
    shorthand = bool(arguments) and arguments[0].items is not None
    fractions = arguments if shorthand else arguments[1:]
    if not fractions:
        return rule.refuse(place, "fraction", "fractional has no variants", 'write variants with weights: ["on", 5], ["off", 95]')
    before = len(rule.problems)
    weights = [_weight(rule, fraction, place.at(f"[{index}]")) for index, fraction in enumerate(fractions, len(arguments) - len(fractions))]
    known = [weight for weight in weights if weight is not None]
    if len(known) == len(weights) and len(rule.problems) == before:
        total = sum(max(0, weight) for weight in known)
        if not 0 < total <= bucketing.LARGEST_SUM:
            rule.refuse(
                place,
                "fraction",
                f"the weights sum up to {total}",
                f"flagd wants a sum from 1 to {bucketing.LARGEST_SUM}; it answers nothing",
            )
    if len(rule.problems) > before:
        return Expression(lambda _: None)
    if place.root and (shorthand or not _no_list(raw[0])):
        rule.needs.add(TARGETING_KEY)
    general = bucketing.by_value(arguments, _flag_key(rule, place))
    variants = [fraction.items[0].value for fraction in fractions if fraction.items and fraction.items[0].known]
    if not len(known) == len(variants) == len(fractions) or (shorthand and not place.root):
        return Expression(general)
    if shorthand:
        return Expression(bucketing.by_weights(bucketing.hash_key(rule.key), variants, known))
    return Expression(bucketing.by_expression(arguments[0].run, variants, known, general))


def _no_list(raw: Any) -> bool:
    return not isinstance(raw, dict) or not NEVER_LISTS.isdisjoint(raw)


def _flag_key(rule: Rule, place: Place) -> Callable[[Any], Any]:
    if place.root:
        key = rule.key
        return lambda _: key
    return lambda item: item.get(FLAGD, {}).get("flagKey", "")


def _weight(rule: Rule, fraction: Expression, place: Place) -> int | None:
    """The weight of a fraction where it is known at load."""
    if fraction.items is None:
        if fraction.known:
            rule.refuse(place, "fraction", f"{shown(fraction.value)} is no variant with a weight", 'write ["variant", weight]')
        return None
    if not 1 <= len(fraction.items) <= 2:
        rule.refuse(
            place, "fraction", f"a variant with a weight has 1 or 2 entries, not {len(fraction.items)}", 'write ["variant", weight]'
        )
        return None
    if len(fraction.items) == 1:
        return 1
    weight = fraction.items[1]
    if not weight.known:
        return None
    if isinstance(weight.value, bool) or not isinstance(weight.value, int):
        rule.refuse(
            place, "fraction", f"the weight {shown(weight.value)} is no whole number", "scale all weights: 0.5 and 99.5 are 1 and 199"
        )
        return None
    return weight.value


def ends(name: str, compare: Callable[[str, str], bool]) -> Callable[[Rule, Sequence[Any], Sequence[Expression], Place], Expression]:
    """starts_with, ends_with."""

    def build(rule: Rule, _: Sequence[Any], arguments: Sequence[Expression], place: Place) -> Expression:
        if len(arguments) != 2:
            return rule.refuse(place, "arguments", f"{name} takes 2 arguments, not {len(arguments)}", "write the text, then its end")
        for index, argument in enumerate(arguments):
            if argument.items is not None or (argument.known and not isinstance(argument.value, str)):
                value = argument.value if argument.known else "a list"
                rule.refuse(place.at(f"[{index}]"), "arguments", f"{name} compares texts, not {shown(value)}", "put it in quotes")
        return folded(texts.compare_ends(compare)(arguments), arguments)

    return build


def sem_ver(rule: Rule, _: Sequence[Any], arguments: Sequence[Expression], place: Place) -> Expression:
    """sem_ver: a version, a comparison, a version."""
    if len(arguments) != 3:
        return rule.refuse(place, "arguments", f"sem_ver takes 3 arguments, not {len(arguments)}", "write version, comparison, version")
    for index in (0, 2):
        if arguments[index].known and texts.version_of(arguments[index].value) is None:
            value = shown(arguments[index].value)
            rule.refuse(place.at(f"[{index}]"), "version", f"{value} is no semantic version", 'write it as "1.2.3" or "v1.2"')
    how = arguments[1]
    if how.items is not None or (how.known and (not isinstance(how.value, str) or how.value not in texts.COMPARISONS)):
        value = shown(how.value) if how.known else "a list"
        rule.refuse(place.at("[1]"), "version", f"sem_ver cannot compare by {value}", f"use one of {' '.join(texts.COMPARISONS)}")
        return Expression(lambda _: None)
    return folded(texts.compare_versions(arguments), arguments)
