"""The part of an application that a rollout has: a layer that is split into exclusive slots gives each rollout the units of its own."""

from __future__ import annotations

from dataclasses import replace

from extproc.domain.spec import Application, Rollout, Spec


def slot_of(spec: Spec, rollout: Rollout) -> tuple[float, float]:
    """[begin, end) of 1: where its slot lies among the layer's units; all of them where it has none."""
    return spec.layers[rollout.layer][rollout.slot] if rollout.slot is not None else (0.0, 1.0)


def slot_share(spec: Spec, rollout: Rollout) -> float:
    """Share of the layer's units that take part in the rollout."""
    begin, end = slot_of(spec, rollout)
    return round(end - begin, 9)


def taking_part(spec: Spec, rollout: Rollout) -> Application:
    """The application as the rollout meets it: units and requests of its slot alone."""
    share, application = slot_share(spec, rollout), spec.application
    if share == 1.0:
        return application
    return replace(
        application, daily_requests=round(application.daily_requests * share), daily_units=round(application.daily_units * share)
    )
