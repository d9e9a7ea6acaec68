"""A flag of a client-features document -> Flag: its strategies, its variants and its parents, all at load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from extproc.errors import Problem
from extproc.flags.flag import Attributes, Flag, FlagAnswer, FlagError
from extproc.flags.unleash.context import Test, Texts, every, never, readable, some
from extproc.flags.unleash.reading import Notes, did_you_mean
from extproc.flags.unleash.strategies import Segments, strategy
from extproc.flags.unleash.variants import Pick, feature_variants, first_that_holds, no_variant, strategy_variants

OFF: Final = FlagAnswer(on=False, variant="", value=False)
ON: Final = FlagAnswer(on=True, variant="", value=True)

Features = Mapping[str, Mapping[str, Any]]
"""Flag key -> feature."""


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A feature without its parents."""

    holds: Test
    pick: Pick


def compile_flag(document: Mapping[str, Any], key: str) -> Flag:
    """The flag `key` of a client-features document (`{"version": 2, "features": [...], "segments": [...]}`); raises FlagError.

    Only the flag, its segments and its parents are looked at; all that is wrong with them is reported at once.
    """
    notes = Notes()
    features = _features(document, notes)
    if notes.problems or key not in features:
        known = did_you_mean(key, list(features))
        raise FlagError(notes.problems or Problem("flag.unknown", f"flags.{key}", f"there is no flag {key!r}", known))
    segments = _segments(document, notes)
    feature = features[key]
    compiled = _feature(feature, key, key, segments, notes)
    parents = _parents(feature, key, features, segments, notes)
    enabled = notes.flag(feature, "enabled", f"flags.{key}")
    if notes.problems:  # a segment or parent that is used twice is wrong once
        raise FlagError(tuple(dict.fromkeys(notes.problems)))
    if not enabled:
        return Flag(key, lambda _, __: OFF, frozenset(), needs_time=False)
    names = tuple(sorted(notes.needs))
    return Flag(key, _answer(every([*parents, compiled.holds]), compiled.pick, names), frozenset(names), notes.needs_time)


def _answer(holds: Test, pick: Pick, names: tuple[str, ...]) -> Callable[[Attributes, float], FlagAnswer]:
    def evaluate(attributes: Attributes, now: float) -> FlagAnswer:
        try:
            texts: Texts = readable(attributes, names)
            if holds(texts, now):
                return ON if pick is no_variant else FlagAnswer(True, pick(texts, now) or "", True)
        except (ValueError, OverflowError):  # a text without a UTF-8 form, a clock beyond all dates: the engine rejects the request
            pass
        return OFF

    return evaluate


def _features(document: Mapping[str, Any], notes: Notes) -> Features:
    """Features by key; of two with the same name the last counts, as in the engine. What has no name cannot be asked for."""
    found: dict[str, Mapping[str, Any]] = {}
    for feature in notes.entries(document, "features", ""):
        if isinstance(feature, Mapping) and isinstance(feature.get("name"), str):
            found[feature["name"]] = feature
    return found


def _segments(document: Mapping[str, Any], notes: Notes) -> Segments:
    """Segments by id; of two with the same id the last counts."""
    found: dict[int, tuple[str, Mapping[str, Any]]] = {}
    for index, segment in enumerate(notes.entries(document, "segments", "")):
        if isinstance(segment, Mapping) and type(segment.get("id")) is int:
            found[segment["id"]] = (f"segments[{index}]", segment)
    return found


def _feature(feature: Mapping[str, Any], key: str, asked: str, segments: Segments, notes: Notes) -> _Compiled:
    """`asked` is the flag that the request is about: the engine hashes a parent's rollout without groupId by that name, not by the
    parent's own; variants it hashes by the parent's."""
    path = f"flags.{key}"
    tests: list[Test] = []
    candidates: list[tuple[Test, Pick | None]] = []
    given = notes.objects(feature, "strategies", path)
    for place, one in given:
        test = strategy(one, asked, segments, place, notes)
        tests.append(test)
        candidates.append((test, strategy_variants(one, key, place, notes)))
    own = feature_variants(feature, key, path, notes)
    # No strategies at all is on for everybody.
    return _Compiled(some(tests) if given else every([]), first_that_holds(candidates, own))


def _parents(feature: Mapping[str, Any], key: str, features: Features, segments: Segments, notes: Notes) -> list[Test]:
    """What must hold of other flags. The engine looks one level up only."""
    tests: list[Test] = []
    for path, dependency in notes.objects(feature, "dependencies", f"flags.{key}"):
        name = notes.text(dependency, "feature", path)
        wanted = True if dependency.get("enabled") is None else notes.flag(dependency, "enabled", path)
        names = frozenset(notes.texts(dependency, "variants", path))
        if name is None or not _usable_parent(name, key, features, path, notes):
            continue
        parent = features[name]
        compiled = _feature(parent, name, key, segments, notes)
        holds = compiled.holds if notes.flag(parent, "enabled", f"flags.{name}") else never
        tests.append(_parent(holds, compiled.pick, wanted, names))
    return tests


def _usable_parent(name: str, key: str, features: Features, path: str, notes: Notes) -> bool:
    if name not in features:
        notes.refuse("unknown-parent", f"{path}.feature", f"there is no flag {name!r}", did_you_mean(name, list(features)))
        return False
    if not features[name].get("dependencies"):
        return True
    chain = _cycle(key, features)
    if chain:
        hint = "remove one of the dependencies: Unleash never switches these flags on"
        notes.refuse("dependency-cycle", f"{path}.feature", f"{' -> '.join(chain)} go round in a circle", hint)
    else:
        hint = f"depend on the parents of {name!r} instead: Unleash looks one level up and never switches this flag on"
        notes.refuse("nested-dependency", f"{path}.feature", f"{name!r} depends on other flags itself", hint)
    return False


def _cycle(key: str, features: Features) -> list[str]:
    """The flags from `key` back to itself, if its dependencies lead there."""
    waiting = [[key]]
    seen: set[str] = set()
    while waiting:
        chain = waiting.pop()
        parents = features[chain[-1]].get("dependencies") if chain[-1] in features else None
        for one in parents if isinstance(parents, list) else []:
            name = one.get("feature") if isinstance(one, Mapping) else None
            if name == key:
                return [*chain, key]
            if isinstance(name, str) and name not in seen:
                seen.add(name)
                waiting.append([*chain, name])
    return []


def _parent(holds: Test, pick: Pick, wanted: bool, names: frozenset[str]) -> Test:
    """The parent is on (or off, where that is wanted), and one of the named variants is picked.

    As in the engine, the variant is picked even where the parent is off, and a parent without variants satisfies any names.
    """

    def test(texts: Texts, now: float) -> bool:
        if names:
            variant = pick(texts, now)
            if variant is not None and variant not in names:
                return False
        return holds(texts, now) == wanted

    return test
