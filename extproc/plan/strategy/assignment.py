"""Who meets the canary, what keeps people on their side, and what separates this rollout from others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from extproc.domain import (
    Bucketing,
    Cohort,
    Cookie,
    OnFailure,
    RollbackPolicy,
    Rollout,
    Source,
    SourceKind,
    Spec,
    shown,
    slot_of,
    slot_share,
)
from extproc.plan.markdown import code, listed, prose, table
from extproc.plan.said import lasting
from extproc.release.sentences import percent

SOURCES: Final[Mapping[SourceKind, str]] = {
    SourceKind.HEADER: "header",
    SourceKind.API_KEY: "the hashed key in header",
    SourceKind.COOKIE: "cookie",
    SourceKind.CLAIM: "token claim",
}


def parts(spec: Spec, rollout: Rollout) -> list[str]:
    """The sections about cohorts, stickiness and isolation."""
    head = ("", "cohort", "who", "never", *(prose(phase.name) for phase in rollout.phases))
    rows = [_cohort(rollout, number, cohort) for number, cohort in enumerate(rollout.cohorts, 1)]
    return [
        "### Cohorts",
        "The first cohort that matches has the request; who matches none stays on stable, and is no evidence.",
        table(head, rows, right=range(4, len(head))),
        "### Stickiness",
        listed(_stickiness(rollout)),
        "### Isolation",
        listed(_isolation(spec, rollout)),
    ]


def _cohort(rollout: Rollout, number: int, cohort: Cohort) -> tuple[str, ...]:
    shares = [percent(rollout.share_of(cohort, phase)) for phase in range(len(rollout.phases))]
    never = "nobody" if cohort.exclude is None else prose(shown(cohort.exclude))
    return str(number), code(cohort.name), prose(shown(cohort.selector)), never, *shares


def source(one: Source) -> str:
    """Where an id comes from."""
    return f"{SOURCES[one.kind]} {code(one.name)}"


def _stickiness(rollout: Rollout) -> Iterator[str]:
    unit, drawn = rollout.unit, not rollout.unit.sources
    places = "drawn anew each time" if drawn else f"by {', then '.join(source(one) for one in unit.sources)}"
    yield f"**Unit:** {prose(unit.kind)}, {places}."
    if unit.cookie is not None:
        yield f"**Anonymous:** {_cookie(unit.cookie)} is set by Envoy; until it comes back, such requests are no evidence of users."
    hashed = (
        "xxh3_64" if rollout.bucket is Bucketing.EXTPROC else f"the hash of {rollout.bucket.value}, so that its flags see the same people"
    )
    stays = "The same people may meet both models" if drawn else "Whoever meets the canary in a phase meets it in every later one"
    yield f"**Ring:** {hashed}, with salt {code(rollout.salt)}. {stays}."
    if rollout.holdback:
        yield f"**Holdback:** {percent(rollout.holdback)} stay on stable at 100%, to be compared with for long."
    conversation = rollout.conversation
    if conversation is None and drawn:
        yield "**Open conversations:** each of their requests is drawn anew."
    elif conversation is None:
        yield "**Open conversations:** move with their unit when a phase or a rollback moves it."
    else:
        place = _cookie(conversation.cookie) if conversation.cookie is not None else f"header {code(conversation.header or '')}"
        ends = "may end on the canary" if conversation.on_quality_rollback is RollbackPolicy.DRAIN else "move to stable"
        yield (
            f"**Open conversations:** keep their model for {lasting(conversation.lifetime)}, by a signed token in {place}; after a "
            f"rollback for quality or cost they {ends}, after one for errors or latency they always move."
        )
    forced = [
        f"{len(ids.ids):,} on {arm}"
        for arm, ids in (("stable", rollout.overrides.stable), ("canary", rollout.overrides.canary))
        if ids is not None
    ]
    if forced:
        yield f"**By hand:** {', '.join(forced)}; they are no evidence."
    if rollout.overrides.qa_secret is not None:
        yield f"**QA:** signed header {code(rollout.overrides.qa_header)}; its key is in {prose(rollout.overrides.qa_secret.place)}."
    if rollout.on_canary_failure is OnFailure.STABLE:
        yield "**Fail-over:** where the canary fails before its first byte, stable answers."


def _cookie(cookie: Cookie) -> str:
    return f"cookie {code(cookie.name)} ({lasting(cookie.max_age)}, {prose(cookie.attributes)})"


def _isolation(spec: Spec, rollout: Rollout) -> Iterator[str]:
    match = rollout.match
    about = [
        f"{what} {', '.join(code(value) for value in values)}"
        for what, values in (("host", match.hosts), ("path", match.paths), ("model", match.models))
        if values
    ]
    yield f"**Requests:** {'; '.join(about) or 'all'}. What does not match keeps its own route."
    layer = f"**Layer:** {code(rollout.layer)}; a request is in one rollout of a layer at most, and layers are independent of each other"
    if rollout.slot is not None:
        begin, end = slot_of(spec, rollout)
        share = f"{percent(slot_share(spec, rollout))} of the layer's units ({percent(begin)} to {percent(end)})"
        layer += f". Slot {code(rollout.slot)} has {share}, exclusively; the figures above are for those"
    yield f"{layer}."
    others = [one for one in spec.rollouts.values() if one.layer == rollout.layer and one.name != rollout.name]
    if others:
        said = ", ".join(code(one.name) + (f" (slot {code(one.slot)})" if one.slot else "") for one in others)
        yield f"**Beside it in this layer:** {said}."
