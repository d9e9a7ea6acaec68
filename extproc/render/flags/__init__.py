"""The rollout as a feature flag of each vendor, so that code which asks a flag sees the people whom the edge sends to the canary.

It is the same people where the rollout's `bucket` is that vendor; with extproc's own hash it is the same share of other people, and the
flag's description says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Final

from extproc.domain import Bucketing, FlagVendor, Rollout, Spec
from extproc.render.flags import flagd, growthbook, launchdarkly, unleash
from extproc.render.flags.openfeature import example
from extproc.render.flags.rules import Rule, attributes, rules

__all__ = ["flag_document", "openfeature_example"]

_VENDORS: Final[Mapping[FlagVendor, ModuleType]] = {
    FlagVendor.UNLEASH: unleash,
    FlagVendor.LAUNCHDARKLY: launchdarkly,
    FlagVendor.GROWTHBOOK: growthbook,
    FlagVendor.FLAGD: flagd,
}


def flag_document(spec: Spec, rollout: Rollout, phase: int, vendor: FlagVendor) -> dict[str, Any]:
    """The vendor's JSON document with one flag: the rollout as it is at a phase. Raises RenderError with everything it cannot say."""
    found = rules(spec, rollout, phase)
    make: Callable[[Rollout, list[Rule], str], dict[str, Any]] = _VENDORS[vendor].document
    return make(rollout, found, _description(spec, rollout, phase, vendor, found))


def openfeature_example(spec: Spec, rollout: Rollout, phase: int) -> str:
    """A Python program that asks the flag through OpenFeature (with flagd's provider)."""
    return example(rollout, attributes(rules(spec, rollout, phase)))


def _description(spec: Spec, rollout: Rollout, phase: int, vendor: FlagVendor, found: list[Rule]) -> str:
    people = "the same people" if rollout.bucket is Bucketing(vendor.value) else f"the same shares of other people (bucket: {vendor.value})"
    needed = attributes(found)
    return (
        f"{rollout.stable} -> {rollout.canary} at phase {rollout.phases[phase].name}; made by extproc from Spec {spec.digest}. "
        f"Beside the edge it sees {people}. Attributes: the {rollout.unit.kind}'s id{''.join(f', {name}' for name in needed)}."
    )
