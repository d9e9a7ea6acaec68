"""Why a request meets the model that it meets: `assign`'s own answer, and every step that led to it.

The decision is not made again here: arm, model, reason and cluster are those of `assign` on the same compiled Snapshot, and each step is
told by calling the very functions that `assign` calls (a property test compares the two on random Specs and requests). COLD: this is for
people, one request at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from extproc.assign.assign import assign
from extproc.assign.bucket import point
from extproc.assign.explained import (
    CohortSeen,
    Considered,
    ConversationSeen,
    Effect,
    Explanation,
    LayerExplained,
    Member,
    Met,
    Read,
    RolloutSeen,
    SlotSeen,
    Taken,
    UnitSeen,
)
from extproc.assign.prepared import Prepared, PreparedRollout
from extproc.assign.ramp import Request, entry, percent, position, without
from extproc.assign.selectors import LIST_SEPARATOR, reader, request_matcher
from extproc.assign.sentences import UNCHECKED, because, conversation_said, instead, source_said
from extproc.assign.snapshot import Answer, Arms, CompiledCohort, CompiledRollout, Pooled, Snapshot
from extproc.assign.tokens import Fate
from extproc.domain import (
    RING,
    Assignment,
    Cohort,
    Fact,
    FactKind,
    FlagIs,
    Match,
    Reason,
    Rollout,
    RolloutState,
    Selector,
    Spec,
    State,
    Status,
    Subject,
    facts,
    leaves,
    shown,
)

SetHeaders = Callable[[Answer], tuple[tuple[str, str], ...]]
"""(name, value) of the request headers that the answer's reply makes Envoy set; passed in: this room does not know Envoy's messages."""


@dataclass(frozen=True, slots=True)
class Explainer:
    """A Spec and a State, ready to explain requests."""

    prepared: Prepared
    snapshot: Snapshot
    """Derived from the same `prepared`, and from `state`."""
    state: State
    set_headers: SetHeaders
    verifies_tokens: bool
    """False where the key of conversation tokens is not here."""

    def explain(self, subject: Subject, request_id: bytes, now: float) -> Explanation:
        """Every layer's answer, and why."""
        request = Request(subject, request_id, now if self.snapshot.needs_time else 0.0)
        layers = zip(self.prepared.layers, self.snapshot.layers, strict=True)
        return Explanation(self.state.generation, self.prepared.spec.digest, tuple(self._layer(*layer, request) for layer in layers))

    def _layer(self, prepared: tuple[PreparedRollout, ...], layer: tuple[CompiledRollout, ...], request: Request) -> LayerExplained:
        answer = assign(layer, *request)
        name = answer.choice.assignment.rollout if answer is not None else ""
        taken = next((place for place, one in enumerate(layer) if one.name == name), None)
        seen = tuple(
            _considered(one.rollout, compiled, place, taken, request)
            for place, (one, compiled) in enumerate(zip(prepared, layer, strict=True))
        )
        if answer is None or taken is None:
            return LayerExplained(prepared[0].rollout.layer, seen, None)
        return LayerExplained(prepared[0].rollout.layer, seen, self._taken(prepared[taken], layer[taken], answer, request))

    def _taken(self, prepared: PreparedRollout, compiled: CompiledRollout, answer: Answer, request: Request) -> Taken:
        spec, rollout, assignment = self.prepared.spec, prepared.rollout, answer.choice.assignment
        state = self.state.rollouts.get(rollout.name) or UNKNOWN
        ring = without(compiled, request, lists=True)
        conversation = self._conversation(prepared, compiled, answer, request)
        cohorts = tuple(_cohorts(spec, rollout, compiled, answer.unit, request))
        decided = next((one for one in cohorts if one.met in (Met.DECIDES, Met.EXCLUDES)), None)
        return Taken(
            rollout=rollout.name,
            status=state.status.value,
            phase=rollout.phases[state.phase].name,
            generation=assignment.generation,
            unit=_unit(prepared, answer.unit, answer.durable, request.subject),
            cohorts=cohorts,
            cohort=decided.name if decided is not None else "",
            point=ring.point if ring.point >= 0 else None,
            position=position(ring.point) if ring.point >= 0 else None,
            arm=assignment.arm,
            reason=assignment.reason,
            sentence=because(rollout, state, assignment, decided, ring.point),
            model=assignment.model,
            cluster=assignment.cluster,
            pool=_pool(spec, assignment),
            otherwise=instead(answer, ring if assignment.reason is Reason.FORCED else without(compiled, request, lists=False)),
            qa=_qa(prepared, answer, request),
            conversation=conversation,
            evidence=assignment.reason is Reason.RING or (assignment.reason is Reason.COMPLETED and rollout.holdback > 0),
            effects=tuple(self._effects(answer, conversation)),
            entry=entry(self.prepared, prepared, state, request),
        )

    def _effects(self, answer: Answer, conversation: ConversationSeen | None) -> Iterator[Effect]:
        """Of what is secret (a token, a unit's keyed hash) only that it is there."""
        for name, value in self.set_headers(answer):
            yield Effect("request", name, value)
        cookie = answer.new_cookie
        if cookie is not None:
            value = f"{cookie.name}={_text(answer.unit)}; Max-Age={cookie.max_age}; {cookie.attributes}"
            yield Effect("response", "set-cookie", value)
        if conversation is not None and conversation.issued:
            kind, name = conversation.place.split(" ")
            said = "a signed token"
            yield Effect("response", "set-cookie", f"{name}={said}") if kind == "cookie" else Effect("response", name, said)

    def _conversation(
        self, prepared: PreparedRollout, compiled: CompiledRollout, answer: Answer, request: Request
    ) -> ConversationSeen | None:
        one = prepared.conversation
        if one is None:
            return None
        written, note = one.conversation, answer.note
        place = f"cookie {written.cookie.name}" if written.cookie is not None else f"header {written.header}"
        brought, issued = bool(one.token(request.subject)), note is not None and bool(note.token)
        fate = note.fate.name.lower() if note is not None else Fate.NONE.name.lower()
        if brought and (compiled.conversation is None or not self.verifies_tokens):
            fate, issued = UNCHECKED, False
        return ConversationSeen(place, fate, conversation_said(compiled, answer, fate, written.lifetime), issued)


UNKNOWN: Final = RolloutState(Status.PENDING, 0, 0.0, 0, 1, "has not been started", "")
"""Where a rollout stands that State does not know yet."""


# --------------------------------------------------------------------------------------------------------------------- rollouts
def _considered(rollout: Rollout, compiled: CompiledRollout, place: int, taken: int | None, request: Request) -> RolloutSeen:
    subject, match = request.subject, rollout.match
    conditions = [
        (Read("host", _text(subject.get(":authority", b""))), Match(match.hosts, (), ()), f"host is {_either(match.hosts)}"),
        (Read("path", _text(subject.get(":path", b""))), Match((), match.paths, ()), f"path starts with {_either(match.paths)}"),
        (Read("model", _model(subject)), Match((), (), match.models), f"model is {_either(match.models)}"),
    ]
    asked = [(read, test, words) for read, one, words in conditions if (test := request_matcher(one)) is not None]
    reads, slot = tuple(read for read, _, _ in asked), _slot(rollout, compiled, request)
    failed = [f"{words}, and here it is {read.value or 'nothing'}" for read, test, words in asked if not test(*_of(request))]
    if taken is not None and place > taken:
        return RolloutSeen(rollout.name, Considered.NOT_ASKED, "a rollout before it has the request", reads, slot)
    if failed:
        return RolloutSeen(rollout.name, Considered.NO_MATCH, f"is about requests whose {'; '.join(failed)}", reads, slot)
    if place == taken:
        said = "is about every request" if not asked else f"is about requests whose {'; '.join(words for _, _, words in asked)}"
        return RolloutSeen(rollout.name, Considered.TAKEN, said, reads, slot)
    assert slot is not None, "what matches and has no slot takes the request"
    said = f"has slot {slot.name}, {percent(slot.begin / RING)} to {percent(slot.end / RING)} of the layer's units"
    return RolloutSeen(rollout.name, Considered.OTHER_SLOT, f"{said}; this one stands at {percent(position(slot.point))}", reads, slot)


def _of(request: Request) -> tuple[Subject, bytes, float]:
    """What a test of requests takes, before the unit is known."""
    return request.subject, b"", request.now


def _slot(rollout: Rollout, compiled: CompiledRollout, request: Request) -> SlotSeen | None:
    slot = compiled.slot
    if slot is None:
        return None
    unit = compiled.unit(request.subject) or request.request_id
    return SlotSeen(rollout.slot or "", slot.begin, slot.end, point(slot.prefix, unit)) if unit else None


# ------------------------------------------------------------------------------------------------------------------------- unit
def _unit(prepared: PreparedRollout, unit: bytes, durable: bool, subject: Subject) -> UnitSeen:
    tried: list[str] = []
    kind = prepared.rollout.unit.kind
    for source, written in zip(prepared.sources, prepared.rollout.unit.sources, strict=True):
        if source(subject):
            return UnitSeen(kind, source_said(written), _text(unit), durable, tuple(tried))
        tried.append(source_said(written))
    return UnitSeen(kind, "the request's own x-request-id" if unit else "", _text(unit), durable, tuple(tried))


# ---------------------------------------------------------------------------------------------------------------------- cohorts
def _cohorts(spec: Spec, rollout: Rollout, compiled: CompiledRollout, unit: bytes, request: Request) -> Iterator[CohortSeen]:
    place = compiled.seat(request.subject, unit, request.now)[0] if unit else None
    last = len(rollout.cohorts) if place is None else max(place, ~place)
    for index, (cohort, one) in enumerate(zip(rollout.cohorts, compiled.cohorts, strict=True)):
        if not unit or index > last:
            met = Met.NOT_REACHED
        elif index < last:
            met = Met.NO_MATCH
        else:
            met = Met.DECIDES if index == place else Met.EXCLUDES
        yield _cohort(spec, rollout, cohort, one, met, request.subject)


def _cohort(spec: Spec, rollout: Rollout, cohort: Cohort, compiled: CompiledCohort, met: Met, subject: Subject) -> CohortSeen:
    first = next((phase.name for phase, share in zip(rollout.phases, cohort.shares, strict=True) if share > 0), "")
    return CohortSeen(
        name=cohort.name,
        who=shown(cohort.selector),
        exclude=shown(cohort.exclude) if cohort.exclude is not None else "",
        met=met,
        reads=tuple(_reads(spec, subject, cohort.selector, cohort.exclude)),
        standing=_one(compiled.rest).reason,
        first_phase=first,
        share=compiled.canary_below / RING,
        canary_below=compiled.canary_below,
        control_from=compiled.control_from,
    )


def _reads(spec: Spec, subject: Subject, *selectors: Selector | None) -> Iterator[Read]:
    """Each fact once, with what the request says of it."""
    looked: dict[Fact, None] = {}
    for selector in selectors:
        looked |= dict.fromkeys(facts(selector))
        for leaf in leaves(selector):
            if isinstance(leaf, FlagIs):
                attributes = spec.flags[leaf.source].attributes.values()
                looked |= dict.fromkeys(one.fact for one in attributes if one.fact is not None)
    for fact in looked:
        entries = [_text(entry) for entry in reader(fact)(subject).split(LIST_SEPARATOR)]
        yield Read(" ".join(filter(None, (fact.kind.value, fact.name))), ", ".join(entries))


def _one(arms: Arms) -> Assignment:
    """Of a pool's answers, which differ in the cluster alone, the first."""
    return (arms.choices[0] if isinstance(arms, Pooled) else arms).assignment


# ---------------------------------------------------------------------------------------------------------------------- the rest
def _pool(spec: Spec, assignment: Assignment) -> tuple[Member, ...]:
    model = spec.models.get(assignment.model) if assignment.cluster else None
    if model is None or len(model.backends) == 1:
        return ()
    total = sum(one.weight for one in model.backends)
    return tuple(Member(one.cluster, one.weight / total, one.cluster == assignment.cluster) for one in model.backends)


def _qa(prepared: PreparedRollout, answer: Answer, request: Request) -> str:
    overrides = prepared.rollout.overrides
    if overrides.qa_secret is None or not request.subject.get(overrides.qa_header):
        return Fate.NONE.name.lower()
    if not prepared.qa_secret:
        return UNCHECKED
    if answer.choice.assignment.reason is Reason.OVERRIDE:
        return Fate.VALID.name.lower()
    return (answer.note.qa if answer.note is not None else Fate.NONE).name.lower()


def _model(subject: Subject) -> str:
    return _text(reader(Fact(FactKind.MODEL))(subject))


def _either(values: tuple[str, ...]) -> str:
    return " or ".join(values)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
