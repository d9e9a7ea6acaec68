"""Layers: slots, salts, and rollouts that would meet the same request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import Any

from extproc.domain import Bucketing
from extproc.spec.checks.tools import Found, block, known, mapping
from extproc.spec.document import LayerBlock
from extproc.spec.document.rollout import MatchBlock
from extproc.spec.units import show_share


def check(document: Mapping[str, Any]) -> Iterator[Found]:
    """A request is in at most one rollout of a layer; two rollouts share a salt on purpose only."""
    rollouts = {name: mapping(written) for name, written in mapping(document.get("rollouts")).items()}
    layers = {name: found for name, written in mapping(document.get("layers")).items() if (found := block(LayerBlock, written)) is not None}
    for name, split in layers.items():
        total = sum(split.slots.values())
        if total > 1 + 1e-9:
            message = f"its slots take {show_share(round(total, 6))} together"
            yield "spec.slots-over", ("layers", name, "slots"), message, "slots are exclusive: together they are at most 100%"
        users = [(one, rollout) for one, rollout in rollouts.items() if _layer(rollout) == name]
        for one, rollout in users[1:]:
            if _unit(rollout) != _unit(users[0][1]):
                message = f"its unit is not that of {users[0][0]!r}, in the same layer with slots"
                yield "spec.slot-unit", ("rollouts", one, "unit"), message, "a slot has units: all rollouts of the layer need the same ones"
    for name, rollout in rollouts.items():
        layer = _layer(rollout)
        slots = list(layers[layer].slots) if layer in layers else []
        yield from known("spec.unknown-slot", "slot", ("rollouts", name, "slot"), rollout.get("slot"), slots)
        yield from _again(rollouts, name)
    yield from _overlaps(rollouts)
    yield from _salts(rollouts)


def _layer(rollout: Mapping[str, Any]) -> str:
    layer = rollout.get("layer", "model")
    return layer if isinstance(layer, str) else ""


def _unit(rollout: Mapping[str, Any]) -> Any:
    unit = rollout.get("unit")
    return {"kind": unit} if isinstance(unit, str) else unit


def _ring(rollout: Mapping[str, Any]) -> str:
    """What a salt is hashed with: our own hash has the layer in it, a flag vendor's has not."""
    bucket = rollout.get("bucket", Bucketing.EXTPROC.value)
    return f"layer {_layer(rollout)!r}" if bucket == Bucketing.EXTPROC.value else f"bucket {bucket!r}"


def _again(rollouts: Mapping[str, Mapping[str, Any]], name: str) -> Iterator[Found]:
    """A re-run meets the users of another rollout only where everything that is hashed is the same."""
    rollout, path = rollouts[name], ("rollouts", name, "reuse_salt_of")
    first = rollout.get("reuse_salt_of")
    yield from known("spec.unknown-rollout", "other rollout", path, first, [other for other in rollouts if other != name])
    if not isinstance(first, str) or first == name or first not in rollouts:
        return
    if rollouts[first].get("reuse_salt_of") is not None:
        message = f"rollout {first!r} has no salt of its own"
        yield "spec.other-users", path, message, f"name the rollout that {first!r} names"
    elif _ring(rollouts[first]) != _ring(rollout):
        message = f"rollout {first!r} has {_ring(rollouts[first])} and this one {_ring(rollout)}: it would meet other users"
        yield "spec.other-users", path, message, "a re-run has the same layer and the same bucket"


def _overlaps(rollouts: Mapping[str, Mapping[str, Any]]) -> Iterator[Found]:
    written = {name: one.get("match", {}) for name, one in rollouts.items() if _layer(one)}
    matches = {name: match for name, value in written.items() if (match := block(MatchBlock, value)) is not None}
    for (first, one), (second, other) in combinations(matches.items(), 2):
        layer, slots = _layer(rollouts[first]), (rollouts[first].get("slot"), rollouts[second].get("slot"))
        if not _overlap(one, other):
            continue
        if layer != _layer(rollouts[second]):
            yield from _two_tokens(rollouts, first, second)
            continue
        if None in slots or slots[0] == slots[1]:
            message = f"its requests overlap with those of {first!r}, in the same layer {layer!r}"
            hint = "separate them by hosts, paths or models, give them different slots, or use another layer"
            yield "spec.overlap", ("rollouts", second, "match"), message, hint
        elif rollouts[first].get("stable") != rollouts[second].get("stable"):
            message = f"its requests overlap with those of {first!r} in another slot, and their stable models differ"
            yield "spec.slot-stable", ("rollouts", second, "stable"), message, "requests outside of every slot need one stable model"


def _two_tokens(rollouts: Mapping[str, Mapping[str, Any]], first: str, second: str) -> Iterator[Found]:
    if all(rollouts[name].get("conversation") is not None for name in (first, second)):
        message = f"{first!r} in layer {_layer(rollouts[first])!r} keeps the conversations of the same requests"
        hint = "one answer hands out one token: keep conversations in one of the two layers"
        yield "spec.two-conversations", ("rollouts", second, "conversation"), message, hint


def _overlap(one: MatchBlock, other: MatchBlock) -> bool:
    def meet(left: list[str] | None, right: list[str] | None, same: Callable[[str, str], bool]) -> bool:
        return not left or not right or any(same(a, b) for a in left for b in right)

    return (
        meet(one.hosts, other.hosts, lambda a, b: a.lower() == b.lower())
        and meet(one.paths, other.paths, lambda a, b: a.startswith(b) or b.startswith(a))
        and meet(one.models, other.models, lambda a, b: a == b)
    )


def _salts(rollouts: Mapping[str, Mapping[str, Any]]) -> Iterator[Found]:
    seen: dict[tuple[str, str], str] = {}
    for name, rollout in rollouts.items():
        if rollout.get("reuse_salt_of") is not None:
            if rollout.get("salt") is not None:
                message = "names salt and reuse_salt_of"
                yield "spec.two-salts", ("rollouts", name, "reuse_salt_of"), message, "name one: a salt of its own, or another rollout's"
            continue
        salt = rollout.get("salt") or name
        if isinstance(salt, str):
            first = seen.setdefault((_ring(rollout), salt), name)
            if first != name:
                message = f"has the salt of {first!r}: both would meet the same users"
                hint = f"give it another salt; for a deliberate re-run write reuse_salt_of: {first}"
                yield "spec.same-salt", ("rollouts", name, "salt"), message, hint
