"""Layers: slots, salts, and rollouts that would meet the same request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import Any

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
            if rollout.get("unit") != users[0][1].get("unit"):
                message = f"its unit is not that of {users[0][0]!r}, in the same layer with slots"
                yield "spec.slot-unit", ("rollouts", one, "unit"), message, "a slot has units: all rollouts of the layer need the same ones"
    for name, rollout in rollouts.items():
        layer = _layer(rollout)
        slots = list(layers[layer].slots) if layer in layers else []
        yield from known("spec.unknown-slot", f"slot of layer {layer!r} named", ("rollouts", name, "slot"), rollout.get("slot"), slots)
        others = [other for other in rollouts if other != name]
        yield from known("spec.unknown-rollout", "other rollout", ("rollouts", name, "reuse_salt_of"), rollout.get("reuse_salt_of"), others)
    yield from _overlaps(rollouts)
    yield from _salts(rollouts)


def _layer(rollout: Mapping[str, Any]) -> str:
    layer = rollout.get("layer", "model")
    return layer if isinstance(layer, str) else ""


def _overlaps(rollouts: Mapping[str, Mapping[str, Any]]) -> Iterator[Found]:
    written = {name: one.get("match", {}) for name, one in rollouts.items() if _layer(one)}
    matches = {name: match for name, value in written.items() if (match := block(MatchBlock, value)) is not None}
    for (first, one), (second, other) in combinations(matches.items(), 2):
        layer, slots = _layer(rollouts[first]), (rollouts[first].get("slot"), rollouts[second].get("slot"))
        if layer != _layer(rollouts[second]) or not _overlap(one, other):
            continue
        if None in slots or slots[0] == slots[1]:
            message = f"its requests overlap with those of {first!r}, in the same layer {layer!r}"
            hint = "separate them by hosts, paths or models, give them different slots, or use another layer"
            yield "spec.overlap", ("rollouts", second, "match"), message, hint
        elif rollouts[first].get("stable") != rollouts[second].get("stable"):
            message = f"its requests overlap with those of {first!r} in another slot, and their stable models differ"
            yield "spec.slot-stable", ("rollouts", second, "stable"), message, "requests outside of every slot need one stable model"


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
            first = seen.setdefault((_layer(rollout), salt), name)
            if first != name:
                message = f"has the salt of {first!r}: both would meet the same users"
                hint = f"give it another salt; for a deliberate re-run write reuse_salt_of: {first}"
                yield "spec.same-salt", ("rollouts", name, "salt"), message, hint
