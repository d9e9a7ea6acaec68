"""Specs made in code, for tests of rooms that take nouns and not YAML."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from extproc.domain import (
    Among,
    Application,
    ApplicationType,
    Backend,
    Bucketing,
    Ceiling,
    Cohort,
    Conversation,
    Cookie,
    Credential,
    Fact,
    FactKind,
    Gate,
    Identity,
    Ids,
    Infrastructure,
    Listener,
    ListenerKind,
    Match,
    Model,
    OnFailure,
    Overrides,
    Phase,
    Prices,
    RollbackPolicy,
    Rollout,
    RolloutState,
    Selector,
    Sla,
    Source,
    SourceKind,
    Spec,
    StartMode,
    State,
    Status,
    Unit,
)
from extproc.measures import MEASURES, default_weights

SHARES = (0.01, 0.05, 0.25, 0.5, 1.0)
COOKIE = Cookie("llm_uid", 31_536_000, "Path=/; HttpOnly; Secure; SameSite=Lax")
IDENTITY = Identity("x-user-tier", "x-geo-country", "x-geo-region", "x-geo-asn")
NO_OVERRIDES = Overrides(qa_header="", qa_secret=None, stable=None, canary=None)


def model(name: str, *clusters: str, weights: tuple[float, ...] = (), **changes: Any) -> Model:
    """A model whose clusters are defined elsewhere: one of its own name, or a pool."""
    named = clusters or (name,)
    backends = tuple(Backend(cluster, weight, (), None) for cluster, weight in zip(named, weights or (1.0,) * len(named), strict=True))
    plain = Model(name=name, backends=backends, affinity=None, path_rewrite=None, credential=None, send_model=None, prices=None)
    return replace(plain, **changes)


def tiers(*values: str) -> Among:
    """The user's tier is one of these."""
    return Among(Fact(FactKind.HEADER, IDENTITY.tier_header), values)


def countries(*values: str) -> Among:
    """The user's country is one of these."""
    return Among(Fact(FactKind.HEADER, IDENTITY.country_header), values)


def header(name: str, *values: str) -> Among:
    """A header is one of these."""
    return Among(Fact(FactKind.HEADER, name), values)


def ids(*values: str) -> Ids:
    """The unit is one of these."""
    return Ids(tuple(sorted(set(values))), "")


def cohort(name: str, selector: Selector | None = None, exclude: Selector | None = None, shares: tuple[float, ...] = SHARES) -> Cohort:
    """A cohort of everybody, excluding nobody, at the shares of the usual phases."""
    return Cohort(name, selector, exclude, shares)


def conversation(**changes: Any) -> Conversation:
    """Tokens in a header, good for four hours and for whatever the client does meanwhile."""
    plain = Conversation(
        header="x-conversation-token",
        cookie=None,
        id=None,
        lifetime=4 * 3600.0,
        on_quality_rollback=RollbackPolicy.MOVE,
        state_fields=("previous_response_id",),
        state_paths=("/v1/threads/",),
    )
    return replace(plain, **changes)


def overrides(stable: Ids | None = None, canary: Ids | None = None) -> Overrides:
    """Signed headers in x-canary-qa, and lists."""
    return Overrides("x-canary-qa", Credential("", "", None, "QA_SECRET"), stable, canary)


def rollout(name: str = "new", **changes: Any) -> Rollout:
    """old -> new at 1, 5, 25, 50, 100 %; staff, Germany, everyone."""
    phases = tuple(
        Phase(
            name=f"{share:.0%}",
            share=share,
            min_dwell=60.0,
            max_dwell=3600.0,
            min_units=50,
            min_requests=100,
            gates=(Gate("errors", 0.01, 1.0),),
            ceilings=(Ceiling("errors", 0.05),),
        )
        for share in SHARES
    )
    plain = Rollout(
        name=name,
        layer="model",
        match=Match((), (), ()),
        stable="old",
        canary="new",
        unit=Unit("user", (Source(SourceKind.HEADER, "x-user-id"), Source(SourceKind.COOKIE, "llm_uid")), COOKIE),
        cohorts=(cohort("staff", tiers("internal")), cohort("germany", countries("DE")), cohort("everyone")),
        phases=phases,
        holdback=0.0,
        salt=name,
        slot=None,
        bucket=Bucketing.EXTPROC,
        conversation=None,
        overrides=NO_OVERRIDES,
        on_canary_failure=OnFailure.ANSWER,
        start=StartMode.AUTOMATIC,
        alpha=0.05,
    )
    return replace(plain, **changes)


PRICES = {name: Prices(Decimal(1), Decimal("0.1"), Decimal(4)) for name in ("old", "new")}


def gated(*names: str, cohorts: tuple[str, ...] = ("everyone",), **changes: Any) -> Rollout:
    """A rollout with these gates in every phase, at their default weights and margins. `changes` of every phase."""
    base, weights = rollout(cohorts=tuple(cohort(name) for name in cohorts)), default_weights(names)
    phases = tuple(
        replace(phase, gates=tuple(Gate(name, MEASURES[name].margin(index), weights[name]) for name in names), **changes)
        for index, phase in enumerate(base.phases)
    )
    return replace(base, phases=phases)


def spec(*rollouts: Rollout, **changes: Any) -> Spec:
    """A Spec with the models old, new and third."""
    plain = Spec(
        application=Application("chat", ApplicationType.CHATBOT, 1_000_000, 50_000, Sla(8.0, 2.0, 0.999), Infrastructure.VM, 15.0),
        listener=Listener(ListenerKind.INTERNAL, "127.0.0.1", 8080, 0, None, None, {}, 9901, None),
        identity=IDENTITY,
        models={name: model(name) for name in ("old", "new", "third")},
        layers={},
        flags={},
        rollouts={one.name: one for one in rollouts or (rollout(),)},
        digest="0" * 16,
    )
    return replace(plain, **changes)


def state_of(given: Spec, share: float = 0.5, status: Status = Status.PROGRESSING, **changes: Any) -> State:
    """Every rollout in the phase with this share; `changes` of each one's state."""
    rollouts = {
        name: replace(
            RolloutState(status, next(i for i, phase in enumerate(one.phases) if phase.share == share), 0.0, 7, 1, "test", ""), **changes
        )
        for name, one in given.rollouts.items()
    }
    return State(7, given.digest, rollouts)
