"""What a Spec reads of requests: which headers Envoy has to forward, and which of them speak of a user's identity.

One place for three rooms: `assign` looks at these headers, `render` makes Envoy forward, strip or set them, `spec` warns of those that
nobody sets.
"""

from __future__ import annotations

from collections.abc import Iterator

from extproc.domain.selectors import Fact, FactKind, FlagIs, Selector, facts, leaves
from extproc.domain.spec import Rollout, Source, Spec
from extproc.domain.words import SourceKind

REQUEST_ID = "x-request-id"
_KINDS = {SourceKind.HEADER: FactKind.HEADER, SourceKind.COOKIE: FactKind.COOKIE, SourceKind.CLAIM: FactKind.CLAIM}


def needed_headers(spec: Spec) -> frozenset[str]:
    """Headers that a decision under this Spec may look at, pseudo headers included; Envoy forwards only these."""
    needed = {REQUEST_ID}
    for rollout in spec.rollouts.values():
        if rollout.match.hosts:
            needed.add(":authority")
        if rollout.match.paths:
            needed.add(":path")
        needed.update(source.name for source in rollout.unit.sources if source.kind is SourceKind.API_KEY)
        if rollout.overrides.qa_secret is not None:
            needed.add(rollout.overrides.qa_header)
        needed.update(header for fact, _ in rollout_facts(spec, rollout) if (header := _header_of(fact)) is not None)
    return frozenset(needed)


def identity_headers(spec: Spec) -> dict[str, str]:
    """Headers that the Spec believes about a user -> what reads them. Credentials, cookies and signed headers are not among them."""
    read: dict[str, str] = {}
    for rollout in spec.rollouts.values():
        for fact, reader in rollout_facts(spec, rollout):
            conversation = rollout.conversation
            ours = conversation is not None and fact.name == conversation.header
            if fact.kind is FactKind.HEADER and not ours and not reader.startswith(CONVERSATION):
                read.setdefault(fact.name, reader)
    return read


def claims(spec: Spec) -> frozenset[str]:
    """JWT claims that a decision may look at, as dotted paths."""
    return frozenset(
        fact.name for rollout in spec.rollouts.values() for fact, _ in rollout_facts(spec, rollout) if fact.kind is FactKind.CLAIM
    )


def reads_model(spec: Spec) -> bool:
    """True where a decision depends on the model that the body asks for."""
    return any(
        rollout.match.models or any(fact.kind is FactKind.MODEL for fact, _ in rollout_facts(spec, rollout))
        for rollout in spec.rollouts.values()
    )


def compares(spec: Spec, measure: str) -> bool:
    """True where a gate or a ceiling of any phase is about this measure."""
    phases = [phase for rollout in spec.rollouts.values() for phase in rollout.phases]
    gated = any(gate.measure == measure for phase in phases for gate in phase.gates)
    return gated or any(ceiling.measure == measure for phase in phases for ceiling in phase.ceilings)


def reads_flags(rollout: Rollout, source: str) -> bool:
    """True where a cohort of the rollout names a flag of this source."""
    selectors = [selector for cohort in rollout.cohorts for selector in (cohort.selector, cohort.exclude)]
    return any(isinstance(leaf, FlagIs) and leaf.source == source for selector in selectors for leaf in leaves(selector))


def flag_keys(spec: Spec, source: str) -> frozenset[str]:
    """Flags of this source that cohorts name."""
    cohorts = [cohort for rollout in spec.rollouts.values() for cohort in rollout.cohorts]
    found = [leaf for cohort in cohorts for selector in (cohort.selector, cohort.exclude) for leaf in leaves(selector)]
    return frozenset(leaf.key for leaf in found if isinstance(leaf, FlagIs) and leaf.source == source)


def state_fields(spec: Spec) -> tuple[str, ...]:
    """Keys of the body that speak of provider-side state, sorted."""
    return tuple(
        sorted({field for one in spec.rollouts.values() if one.conversation is not None for field in one.conversation.state_fields})
    )


CONVERSATION = "the conversation"


def rollout_facts(spec: Spec, rollout: Rollout) -> Iterator[tuple[Fact, str]]:
    """Every fact that a rollout looks at, with what looks at it; API keys, hosts and paths of `match` apart."""
    for source in rollout.unit.sources:
        if source.kind is not SourceKind.API_KEY:
            yield fact_of(source), f"the unit of {rollout.name}"
    for cohort in rollout.cohorts:
        for selector in (cohort.selector, cohort.exclude):
            for fact in (*facts(selector), *_flag_facts(spec, selector)):
                yield fact, f"cohort {cohort.name}"
    conversation = rollout.conversation
    if conversation is not None:
        reader = f"{CONVERSATION} of {rollout.name}"
        if conversation.header is not None:
            yield Fact(FactKind.HEADER, conversation.header), reader
        if conversation.cookie is not None:
            yield Fact(FactKind.COOKIE, conversation.cookie.name), reader
        if conversation.id is not None:
            yield fact_of(conversation.id), reader
        if conversation.state_paths:
            yield Fact(FactKind.PATH), reader


def fact_of(source: Source) -> Fact:
    """Where a source that is no API key looks."""
    return Fact(_KINDS[source.kind], source.name)


def _flag_facts(spec: Spec, selector: Selector | None) -> Iterator[Fact]:
    for leaf in leaves(selector):
        if isinstance(leaf, FlagIs):
            yield from (attribute.fact for attribute in spec.flags[leaf.source].attributes.values() if attribute.fact is not None)


def _header_of(fact: Fact) -> str | None:
    match fact.kind:
        case FactKind.HEADER:
            return fact.name
        case FactKind.COOKIE:
            return "cookie"
        case FactKind.PATH:
            return ":path"
        case _:
            return None
