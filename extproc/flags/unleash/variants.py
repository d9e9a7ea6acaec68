"""Variants -> a name. Weights share the hash of the stickiness; overrides come first, whatever the weights."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any, Final

from extproc.flags.unleash.context import Test, Texts, usable_stickiness
from extproc.flags.unleash.points import group_prefix, slot_of
from extproc.flags.unleash.reading import Notes
from extproc.flags.unleash.strategies import DEFAULT, RANDOM, SESSION_ID, USER_ID

Pick = Callable[[Texts, float], str | None]
"""(texts, now) -> name; None where there are no variants. HOT."""
Given = list[tuple[str, Mapping[str, Any]]]
"""(path, variant) of each."""

DRAWN: Final = ""
"""Instead of a name, where the engine would draw one."""
HEAVIEST: Final = (1 << 31) - 1
"""Weights are signed 32 bits in the engine."""


def no_variant(_: Texts, __: float) -> str | None:
    return None


def feature_variants(feature: Mapping[str, Any], key: str, path: str, notes: Notes) -> Pick:
    """The flag's own variants; the first one's stickiness counts for all."""
    given = notes.objects(feature, "variants", path)
    stickiness = given[0][1].get("stickiness") if given else None
    if stickiness is not None and not isinstance(stickiness, str):
        notes.malformed(f"{given[0][0]}.stickiness", stickiness, "a text")
        stickiness = None
    overrides = _overrides(given, notes)
    pick = variants(given, DEFAULT if stickiness is None else stickiness, key, path, notes)
    if not overrides:
        return pick

    def overridden(texts: Texts, now: float) -> str | None:
        for context_name, values, name in overrides:
            if texts.get(context_name) in values:
                return name
        return pick(texts, now)

    return overridden


def strategy_variants(strategy: Mapping[str, Any], key: str, path: str, notes: Notes) -> Pick | None:
    """A strategy's variants; None where it has none: then the flag's own count."""
    given = notes.objects(strategy, "variants", path)
    if not given:
        return None
    parameters = strategy.get("parameters")
    parameters = parameters if isinstance(parameters, Mapping) else {}
    stickiness, group = parameters.get("stickiness", DEFAULT), parameters.get("groupId", key)
    if not (isinstance(stickiness, str) and isinstance(group, str)):
        return None  # noted where the strategy was read
    return variants(given, stickiness, group, path, notes)


def variants(given: Given, stickiness: str, group: str, path: str, notes: Notes) -> Pick:
    """A pick by weight."""
    names: list[str] = []
    weights: list[int] = []
    for place, variant in given:
        name, weight = notes.text(variant, "name", place), variant.get("weight")
        if name == "":
            notes.malformed(f"{place}.name", name, "a name")
        if type(weight) is not int or not 0 <= weight <= HEAVIEST:
            notes.malformed(f"{place}.weight", weight, "a weight of 0 or more")
            weight = 1
        names.append(name or "")
        weights.append(weight)
    if not names:
        return no_variant
    if sum(weights) == 0:
        hint = "give one variant a weight: the engine fails on this flag"
        notes.refuse("malformed", f"{path}.variants", "the weights add up to 0", hint)
        return no_variant
    only = [name for name, weight in zip(names, weights, strict=True) if weight]
    if len(only) == 1:  # no draw can change it
        return lambda _, __: only[0]
    return _by_hash(tuple(names), tuple(accumulate(weights)), stickiness, group, path, notes)


def _by_hash(names: tuple[str, ...], bounds: tuple[int, ...], stickiness: str, group: str, path: str, notes: Notes) -> Pick:
    prefix, total = group_prefix(group), bounds[-1]
    if stickiness == RANDOM:
        hint = "choose userId, sessionId or a custom property: each request would be drawn anew"
        notes.refuse("random", f"{path}.variants", "variants at random", hint)
        return no_variant
    if stickiness == DEFAULT:
        notes.needs.update((USER_ID, SESSION_ID))
        sources: tuple[str, ...] = (USER_ID, SESSION_ID)
    elif usable_stickiness(stickiness, f"{path}.variants", notes):
        sources = (stickiness,)
    else:
        return no_variant

    def pick(texts: Texts, _: float) -> str | None:
        for source in sources:
            unit = texts.get(source)
            if unit is not None:
                return names[bisect_left(bounds, slot_of(prefix, unit.encode(), total))]
        return DRAWN

    return pick


def first_that_holds(candidates: list[tuple[Test, Pick | None]], otherwise: Pick) -> Pick:
    """The variants of the first strategy that holds; the flag's own where it has none."""
    if all(chosen is None for _, chosen in candidates):
        return otherwise

    def pick(texts: Texts, now: float) -> str | None:
        for test, chosen in candidates:
            if test(texts, now):
                return (chosen or otherwise)(texts, now)
        return otherwise(texts, now)

    return pick


def _overrides(given: Given, notes: Notes) -> tuple[tuple[str, frozenset[str], str], ...]:
    """(context name, values, variant) in order."""
    found: list[tuple[str, frozenset[str], str]] = []
    for place, variant in given:
        for at, override in notes.objects(variant, "overrides", place):
            name = notes.text(override, "contextName", at)
            values = frozenset(notes.texts(override, "values", at))
            if name is not None and usable_stickiness(name, f"{at}.contextName", notes):
                found.append((name, values, str(variant.get("name", ""))))
    return tuple(found)
