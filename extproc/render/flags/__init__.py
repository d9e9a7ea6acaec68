"""The rollout as a feature flag of each vendor, so that code which asks a flag sees the people whom the edge sends to the canary.

It is the same people where the rollout's `bucket` is that vendor; with extproc's own hash it is the same share of other people, and the
flag's description says so.

    names    what a fact of a request is called in a flag
    rules    cohorts as simple rules, tried in order
    shares   what a vendor can say of a share
    unleash, launchdarkly, growthbook, flagd, openfeature   the rules in each one's words
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, Final

from extproc.domain import Bucketing, FactKind, FlagVendor, Rollout, SourceKind, Spec, facts
from extproc.errors import Problem
from extproc.flags import FlagError, compile_flag, seed_of
from extproc.render.flags import flagd, growthbook, launchdarkly, unleash
from extproc.render.flags.openfeature import example
from extproc.render.flags.rules import Rule, attributes, rules
from extproc.render.flags.shares import check_shares
from extproc.render.settings import RenderError

__all__ = ["flag_document", "flag_key", "openfeature_example", "same_people", "unseen"]

_VENDORS: Final[Mapping[FlagVendor, ModuleType]] = {
    FlagVendor.UNLEASH: unleash,
    FlagVendor.LAUNCHDARKLY: launchdarkly,
    FlagVendor.GROWTHBOOK: growthbook,
    FlagVendor.FLAGD: flagd,
}


def flag_document(spec: Spec, rollout: Rollout, phase: int, vendor: FlagVendor) -> dict[str, Any]:
    """The vendor's JSON document with one flag: the rollout as it is at a phase. Raises RenderError with everything it cannot say."""
    found, module = rules(spec, rollout, phase), _VENDORS[vendor]
    check_shares(rollout, found, module.PARTS, vendor.value)
    make: Callable[[Rollout, list[Rule], str], dict[str, Any]] = module.document
    document = make(rollout, found, _description(spec, rollout, phase, vendor, found))
    _check(rollout, vendor, document)
    return document


def flag_key(rollout: Rollout, vendor: FlagVendor) -> str:
    """The flag's name in its document: the rollout's; flagd's is its salt, which is what flagd hashes."""
    return seed_of(vendor, rollout.salt) if vendor is FlagVendor.FLAGD else rollout.name


def _check(rollout: Rollout, vendor: FlagVendor, document: Mapping[str, Any]) -> None:
    """What our own evaluator refuses (a value that a vendor cannot read, say) is not written."""
    try:
        compile_flag(vendor, document, flag_key(rollout, vendor))
    except FlagError as error:
        path = f"rollouts.{rollout.name}"
        raise RenderError(
            [Problem("render.flag-cannot", path, f"{vendor.value}: {one.path}: {one.message}", one.hint) for one in error.problems]
        ) from error


def openfeature_example(spec: Spec, rollout: Rollout, phase: int) -> str:
    """A Python program that asks the flag through OpenFeature (with flagd's provider). Raises RenderError as `flag_document` does."""
    return example(rollout, attributes(rules(spec, rollout, phase)))


def same_people(rollout: Rollout, vendor: FlagVendor) -> bool:
    """True where the flag and the edge put each unit on the same side; else only their shares are the same."""
    return rollout.bucket is Bucketing(vendor.value)


def unseen(rollout: Rollout) -> Iterator[str]:
    """What the edge knows of a request and a flag does not: where it matters, the flag's answer may be another one."""
    match = rollout.match
    if match.hosts or match.paths or match.models:
        yield "match: ask the flag only about requests that the rollout is about"
    if any(source.kind is SourceKind.API_KEY for source in rollout.unit.sources):
        yield "unit: of an API key the edge takes the SHA-256 in hex; give the flag the same"
    if any(source.kind is SourceKind.COOKIE for source in rollout.unit.sources):
        yield "unit: the anonymous are known by their cookie alone, at their first request by x-request-id"
    if rollout.conversation is not None:
        yield "conversation: a token may keep an open conversation on its model"
    if rollout.overrides.qa_secret is not None:
        yield "overrides.qa: a signed header names the arm of one request"
    selectors = [selector for cohort in rollout.cohorts for selector in (cohort.selector, cohort.exclude)]
    if any(fact.kind is FactKind.CLAIM for selector in selectors for fact in facts(selector)):
        yield "claim: Unleash and flagd know no lists; give them a claim that is one text"


def _description(spec: Spec, rollout: Rollout, phase: int, vendor: FlagVendor, found: list[Rule]) -> str:
    people = "the same people" if same_people(rollout, vendor) else f"the same shares of other people (bucket: {rollout.bucket.value})"
    needed = attributes(found)
    return (
        f"{rollout.stable} -> {rollout.canary} at phase {rollout.phases[phase].name}; made by extproc from Spec {spec.digest}. "
        f"Beside the edge it sees {people}. Attributes: the {rollout.unit.kind}'s id{''.join(f', {name}' for name in needed)}."
    )
