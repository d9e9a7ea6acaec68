"""Specs made in code, for tests of rooms that take nouns and not YAML."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from extproc.domain import (
    Application,
    ApplicationType,
    Ceiling,
    Cohort,
    Cookie,
    Gate,
    Infrastructure,
    Listener,
    ListenerKind,
    Match,
    Model,
    Phase,
    Rollout,
    RolloutState,
    Sla,
    Source,
    SourceKind,
    Spec,
    StartMode,
    State,
    Status,
    Unit,
)

SHARES = (0.01, 0.05, 0.25, 0.5, 1.0)
COOKIE = Cookie("llm_uid", 31_536_000, "Path=/; HttpOnly; Secure; SameSite=Lax")


def model(name: str, **changes: Any) -> Model:
    """A model whose cluster is defined elsewhere."""
    plain = Model(
        name=name, cluster=name, endpoints=(), host_rewrite=None, path_rewrite=None, credential=None, send_model=None, prices=None
    )
    return replace(plain, **changes)


def cohort(name: str, **changes: Any) -> Cohort:
    """A cohort without conditions."""
    return replace(Cohort(name=name, countries=(), tiers=(), headers=(), random=None), **changes)


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
        cohorts=(cohort("staff", tiers=("internal",)), cohort("germany", countries=("DE",)), cohort("everyone")),
        phases=phases,
        holdback=0.0,
        salt=name,
        start=StartMode.AUTOMATIC,
        alpha=0.05,
    )
    return replace(plain, **changes)


def spec(*rollouts: Rollout, **changes: Any) -> Spec:
    """A Spec with the models old, new and third."""
    plain = Spec(
        application=Application("chat", ApplicationType.CHATBOT, 1_000_000, 50_000, Sla(8.0, 2.0, 0.999), Infrastructure.VM, 15.0),
        listener=Listener(ListenerKind.INTERNAL, "127.0.0.1", 8080, 0, None, {}, 9901, None),
        models={name: model(name) for name in ("old", "new", "third")},
        rollouts={one.name: one for one in rollouts or (rollout(),)},
        tier_header="x-user-tier",
        country_header="x-geo-country",
        digest="0" * 16,
    )
    return replace(plain, **changes)


def state_of(given: Spec, share: float = 0.5, status: Status = Status.PROGRESSING) -> State:
    """Every rollout in the phase with this share."""
    rollouts = {
        name: RolloutState(status, next(i for i, phase in enumerate(one.phases) if phase.share == share), 0.0, 7, 1, "test", "")
        for name, one in given.rollouts.items()
    }
    return State(7, given.digest, rollouts)
