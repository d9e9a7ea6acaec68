"""What runs where, as boxes and arrows: drawn once as SVG and once as Mermaid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from extproc import contract
from extproc.domain import Infrastructure, ListenerKind, Model, Spec
from extproc.release.sentences import percent

PLACES: Final[Mapping[Infrastructure, str]] = {
    Infrastructure.KUBERNETES: "Kubernetes",
    Infrastructure.CLOUD_RUN: "Cloud Run",
    Infrastructure.VM: "virtual machine",
}
STORES: Final[Mapping[Infrastructure, str]] = {
    Infrastructure.KUBERNETES: "beside the controller",
    Infrastructure.CLOUD_RUN: "beside the controller",
    Infrastructure.VM: "SQLite on disk",
}


class Role(StrEnum):
    """What a box is; it chooses its colour."""

    OUTSIDE = "outside"
    EDGE = "edge"
    BRAIN = "brain"
    STABLE = "stable"
    CANARY = "canary"


class Flow(StrEnum):
    """What goes along an arrow."""

    REQUEST = "request"
    ASSIGNMENT = "assignment"
    OUTCOME = "outcome"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class Box:
    """One thing that runs, or somebody."""

    key: str
    title: str
    lines: tuple[str, ...]
    role: Role


@dataclass(frozen=True, slots=True)
class Arrow:
    """From one box to another, by their keys."""

    begin: str
    end: str
    label: str
    flow: Flow


@dataclass(frozen=True, slots=True)
class Architecture:
    """The whole picture."""

    title: str
    place: str
    """Where the inner boxes run."""
    way: tuple[Box, Box, Box]
    """Users, load balancer, Envoy."""
    inner: tuple[Box, Box, Box]
    """Router, controller, store."""
    models: tuple[Box, ...]
    around: tuple[Box, ...]
    """Whom the controller asks, and who asks it."""
    arrows: tuple[Arrow, ...]

    @property
    def boxes(self) -> tuple[Box, ...]:
        """All of them, in reading order."""
        return (*self.way, *self.inner, *self.models, *self.around)


def architecture(spec: Spec) -> Architecture:
    """Of this application."""
    models = tuple(_model(spec, number, model) for number, model in enumerate(spec.models.values(), 1))
    around = tuple(_around(spec))
    application = spec.application
    users = Box(
        "users",
        "Users",
        (f"{application.daily_requests:,} requests a day", f"{application.daily_units:,} distinct a day"),
        Role.OUTSIDE,
    )
    return Architecture(
        title=f"Architecture of {application.name}",
        place=PLACES[application.infrastructure],
        way=(users, _balancer(spec), _envoy(spec)),
        inner=(
            _router(spec),
            _controller(spec),
            Box("store", "Store", ("Spec, State, Journal", STORES[application.infrastructure]), Role.BRAIN),
        ),
        models=models,
        around=around,
        arrows=tuple(_arrows(spec, models, around)),
    )


def _balancer(spec: Spec) -> Box:
    listener = spec.listener
    headers = sorted(listener.set_by)
    lines = [f"sets {header}" for header in headers[:2]]
    if len(headers) > len(lines):
        lines.append(f"and {len(headers) - len(lines)} more")
    return Box("balancer", "Load balancer", tuple(lines) or ("passes requests on",), Role.OUTSIDE)


def _envoy(spec: Spec) -> Box:
    listener = spec.listener
    strips = "strips what clients must not say" if listener.kind is ListenerKind.EDGE else "trusts its clients"
    return Box("envoy", "Envoy", (f"{listener.kind.value} listener, port {listener.port}", strips), Role.EDGE)


def _router(spec: Spec) -> Box:
    kinds = sorted({rollout.unit.kind for rollout in spec.rollouts.values()})
    layers = sorted({rollout.layer for rollout in spec.rollouts.values()})
    lines = (f"stable or canary, by {' and '.join(kinds) or 'unit'}", f"layers: {', '.join(layers) or 'none'}")
    return Box("router", "Router", lines, Role.BRAIN)


def _controller(spec: Spec) -> Box:
    gates = list(dict.fromkeys(gate.measure for one in spec.rollouts.values() for phase in one.phases for gate in phase.gates))
    said = ", ".join(gates[:2]) + (f" + {len(gates) - 2}" if len(gates) > 2 else "")
    return Box("controller", "Controller", ("gates, every second:", said or "ceilings alone"), Role.BRAIN)


def _model(spec: Spec, number: int, model: Model) -> Box:
    ours = [rollout for rollout in spec.rollouts.values() if rollout.layer == contract.MODEL_LAYER]
    ways = [rollout for rollout in ours if model.name in (rollout.stable, rollout.canary)]
    canary = next((rollout for rollout in ways if rollout.canary == model.name), None)
    if canary is not None:
        said = f"canary: {', '.join(percent(phase.share).rstrip('%') for phase in canary.phases)} %"
    else:
        said = "stable" if ways else "other traffic"
    endpoints = [f"{one.host}:{one.port}" for backend in model.backends for one in backend.endpoints]
    where = (
        endpoints[0] + (f" + {len(endpoints) - 1}" if len(endpoints) > 1 else "") if endpoints else f"cluster {model.backends[0].cluster}"
    )
    return Box(f"model{number}", model.name, (said, where), Role.CANARY if canary is not None else Role.STABLE)


def _around(spec: Spec) -> Iterator[Box]:
    yield Box("people", "People", ("start, approve, pause,", "roll back"), Role.OUTSIDE)
    if spec.judge is not None:
        names = ", ".join(one.name for one in spec.judge.endpoints)
        yield Box("judge", "Judge", (names or "rules alone", f"reads {percent(spec.judge.sample)} of answers"), Role.OUTSIDE)
    if spec.prometheus is not None:
        yield Box("prometheus", "Prometheus", (spec.prometheus.url,), Role.OUTSIDE)
    for number, flags in enumerate(spec.flags.values(), 1):
        yield Box(f"flags{number}", f"Flags: {flags.name}", (flags.vendor.value,), Role.OUTSIDE)


def _arrows(spec: Spec, models: tuple[Box, ...], around: tuple[Box, ...]) -> Iterator[Arrow]:
    yield Arrow("users", "balancer", "request", Flow.REQUEST)
    yield Arrow("balancer", "envoy", "request", Flow.REQUEST)
    yield Arrow("envoy", "router", "headers", Flow.ASSIGNMENT)
    yield Arrow("router", "envoy", "model", Flow.ASSIGNMENT)
    for box in models:
        yield Arrow("envoy", box.key, "stable" if box.role is Role.STABLE else "canary", Flow.REQUEST)
    told = ["outcomes"]
    if spec.judge is not None:
        told.append("samples")
    if spec.feedback is not None:
        told.append("feedback")
    yield Arrow("envoy", "controller", ", ".join(told), Flow.OUTCOME)
    yield Arrow("controller", "store", "decisions", Flow.STATE)
    yield Arrow("store", "router", "State", Flow.STATE)
    for box in around:
        if box.key == "people":
            yield Arrow(box.key, "controller", "acts", Flow.STATE)
        else:
            yield Arrow("controller", box.key, "asks", Flow.OUTCOME)
