"""Spec + State -> Snapshot. Cold: once per change.

`prepare` does what depends on the Spec alone (matchers, sources, flags); `derive` what depends on State (thresholds, replies). A State
change must not stop the loop that decides, however large the Spec: `derive_in_steps` yields after every few replies. The encoder of
reply bytes is passed in: this room does not know Envoy's messages.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from extproc import flags
from extproc.assign.bucket import cohort_prefix, ring_prefix, slot_prefix, written_point
from extproc.assign.code import Draft, Seat
from extproc.assign.deriving import Choices, Encoder, derive_rollout
from extproc.assign.pools import Pool
from extproc.assign.prepared import Prepared, PreparedConversation, PreparedRollout
from extproc.assign.selectors import Writer, among, path_starts, reader, request_matcher
from extproc.assign.snapshot import CompiledRollout, Slot, Snapshot
from extproc.assign.tokens import Signer
from extproc.assign.units import unit_of, unit_source
from extproc.domain import (
    RING,
    Bucketing,
    Conversation,
    Fact,
    FactKind,
    FlagSource,
    FlagVendor,
    Rollout,
    Spec,
    State,
    flag_keys,
    needed_headers,
)

REQUEST_STATE: Final = "extproc.request.state"
"""Key inside a Subject, the same as in `contract` (a test keeps them equal)."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What only routers know. Never printed."""

    conversation: bytes = field(repr=False, default=b"\0" * 32)
    """Key of conversation tokens."""
    qa: Mapping[str, bytes] = field(repr=False, default_factory=dict)
    """Rollout -> HMAC key of its QA headers; not there: they are ignored."""
    feedback: bytes = field(repr=False, default=b"")
    """Key of answers' tokens; empty: none are signed."""


NO_SECRETS: Final = Secrets()


def compile(spec: Spec, state: State, encode: Encoder) -> Snapshot:
    """Spec + State -> Snapshot."""
    return derive(prepare(spec), state, encode)


# --------------------------------------------------------------------------------------------------------------------- prepare
def prepare(spec: Spec, secrets: Secrets = NO_SECRETS, polled: Mapping[str, Mapping[str, Any]] | None = None) -> Prepared:
    """Compile what does not change while the Spec stays. `polled`: flag source -> its last good document.

    Raises flags.FlagError where a flag in a file cannot be evaluated as its vendor would. A polled flag that has never been read, or that
    its document does not hold in a form that can be evaluated, brings nobody to the canary: whoever it would let in stays out, whoever it
    might exclude is excluded. (The controller publishes no such document; the Spec may have come after it.)
    """
    compiled = _flags(spec, polled or {})
    layers: dict[str, list[PreparedRollout]] = {}
    for rollout in spec.rollouts.values():
        layers.setdefault(rollout.layer, []).append(_prepare_rollout(spec, rollout, secrets, compiled))
    stamping = secrets.feedback if spec.feedback is not None and spec.feedback.tokens else b""
    by_hand = any(rollout.conversation is not None or rollout.overrides.qa_secret is not None for rollout in spec.rollouts.values())
    dated = any(flag.needs_time for one in compiled.values() for flag in one.values() if flag is not None)
    needs_time = by_hand or dated or bool(stamping)
    pools = {
        name: Pool([one.cluster for one in model.backends], [one.weight for one in model.backends])
        for name, model in spec.models.items()
        if len(model.backends) > 1
    }
    return Prepared(spec, tuple(tuple(layer) for layer in layers.values()), pools, needed_headers(spec), needs_time, stamping)


Flags = Mapping[str, Mapping[str, flags.Flag | None]]
"""Source -> key -> flag; None: not known."""


def _flags(spec: Spec, polled: Mapping[str, Mapping[str, Any]]) -> Flags:
    """Every flag that a cohort names, by source and key."""
    compiled: dict[str, dict[str, flags.Flag | None]] = {}
    for name, source in spec.flags.items():
        compiled[name] = {key: _compiled(source, polled.get(name), key) for key in flag_keys(spec, name)}
    return compiled


def _compiled(source: FlagSource, polled: Mapping[str, Any] | None, key: str) -> flags.Flag | None:
    if source.document is not None:
        return flags.compile_flag(source.vendor, source.document, key)
    try:
        return flags.compile_flag(source.vendor, polled, key) if polled is not None else None
    except flags.FlagError:
        return None


def _prepare_rollout(spec: Spec, rollout: Rollout, secrets: Secrets, compiled: Flags) -> PreparedRollout:
    overrides = rollout.overrides
    return PreparedRollout(
        rollout=rollout,
        matches=request_matcher(rollout.match),
        slot=_slot(spec, rollout),
        sources=tuple(unit_source(source) for source in rollout.unit.sources),
        unit=unit_of(rollout.unit.sources),
        seat=_seat(spec, rollout, compiled),
        stable_ids=frozenset(one.encode() for one in overrides.stable.ids) if overrides.stable is not None else frozenset(),
        canary_ids=frozenset(one.encode() for one in overrides.canary.ids) if overrides.canary is not None else frozenset(),
        qa_secret=secrets.qa.get(rollout.name, b""),
        conversation=_conversation(rollout, rollout.conversation, secrets) if rollout.conversation is not None else None,
    )


def _seat(spec: Spec, rollout: Rollout, compiled: Flags) -> Seat:
    attributes = {name: source.attributes for name, source in spec.flags.items()}
    draft = Draft()
    cohorts: list[tuple[str | None, str | None]] = []
    for cohort in rollout.cohorts:
        writer = Writer(draft, cohort_prefix(rollout.layer, rollout.salt, cohort.name), compiled, attributes)
        matches = writer.expression(cohort.selector, unread=False) if cohort.selector is not None else None
        excludes = writer.expression(cohort.exclude, unread=True) if cohort.exclude is not None else None
        cohorts.append((matches, excludes))
    return draft.seat(cohorts, _point(rollout, draft))


def _slot(spec: Spec, rollout: Rollout) -> Slot | None:
    if rollout.slot is None:
        return None
    begin, end = spec.layers[rollout.layer][rollout.slot]
    # Both ends are rounded alike, so neighbours meet: no unit is in two slots, and none falls between them.
    return Slot(slot_prefix(rollout.layer), round(begin * RING), round(end * RING))


def _point(rollout: Rollout, draft: Draft) -> str:
    if rollout.bucket is Bucketing.EXTPROC:
        return written_point(draft, ring_prefix(rollout.layer, rollout.salt))
    vendor = FlagVendor(rollout.bucket.value)
    return f"{draft.constant(flags.points(vendor, flags.seed_of(vendor, rollout.salt)))}(unit)"


def _conversation(rollout: Rollout, conversation: Conversation, secrets: Secrets) -> PreparedConversation:
    cookie = conversation.cookie
    fact = Fact(FactKind.COOKIE, cookie.name) if cookie is not None else Fact(FactKind.HEADER, conversation.header or "")
    draft = Draft()
    in_body = among(draft, Fact(FactKind.HEADER, REQUEST_STATE), frozenset((b"1",)))
    in_path = path_starts(draft, conversation.state_paths)
    return PreparedConversation(
        conversation=conversation,
        signer=Signer(secrets.conversation, rollout.layer, rollout.salt, rollout.name),
        token=reader(fact),
        id=unit_source(conversation.id) if conversation.id is not None else None,
        speaks_of_state=draft.value(f"{in_body} or {in_path}"),
    )


# ---------------------------------------------------------------------------------------------------------------------- derive
def derive(prepared: Prepared, state: State, encode: Encoder, withdrawn: Collection[str] = ()) -> Snapshot:
    """Thresholds and replies for a State; a rollout that State does not know serves stable.

    `withdrawn` names rollouts whose canary traffic goes to stable although State exposes them; one that is completed stays as it is.
    """
    steps = derive_in_steps(prepared, state, encode, withdrawn)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            snapshot: Snapshot = end.value
            return snapshot


def derive_in_steps(prepared: Prepared, state: State, encode: Encoder, withdrawn: Collection[str] = ()) -> Generator[None, None, Snapshot]:
    """The same; between two yields it works for a fraction of a millisecond."""
    choices = Choices(prepared, encode)
    layers: list[tuple[CompiledRollout, ...]] = []
    for layer in prepared.layers:
        compiled: list[CompiledRollout] = []
        for one in layer:
            name = one.rollout.name
            compiled.append((yield from derive_rollout(one, state.rollouts.get(name), name in withdrawn, choices)))
        layers.append(tuple(compiled))
    return Snapshot(state.generation, tuple(layers), tuple(choices.made), prepared.needed_headers, prepared.needs_time)
