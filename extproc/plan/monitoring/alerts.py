"""All alerts of a Spec, and their names."""

from __future__ import annotations

from dataclasses import dataclass

from extproc.domain import Rollout, Spec
from extproc.plan.monitoring import phase_alerts, standing_alerts
from extproc.plan.monitoring.alert import Alert


@dataclass(frozen=True, slots=True)
class Group:
    """Alerts that are evaluated together, after what they read was recorded."""

    name: str
    recordings: list[dict[str, object]]
    alerts: tuple[Alert, ...]
    rollout: Rollout
    """In a test of the group it is in this rollout's phase."""
    phase: int


def groups(spec: Spec) -> tuple[Group, ...]:
    """The application's, then each rollout's, then those of its phases."""
    first = next(iter(spec.rollouts.values()))
    found = [Group("extproc", standing_alerts.recordings(), tuple(standing_alerts.application_alerts(spec)), first, 0)]
    for name, rollout in spec.rollouts.items():
        found.append(Group(f"extproc {name}", [], tuple(standing_alerts.rollout_alerts(rollout)), rollout, 0))
        for index, phase in enumerate(rollout.phases):
            recorded = phase_alerts.recordings(spec, rollout, index)
            made = tuple(phase_alerts.phase_alerts(spec, rollout, index))
            found.append(Group(f"extproc {name}, phase {index + 1}: {phase.name}", recorded, made, rollout, index))
    return tuple(found)


def names(spec: Spec) -> tuple[str, ...]:
    """Names of all alerts of a Spec, each once: the playbook has a section for each of them."""
    return tuple(dict.fromkeys(alert.name for group in groups(spec) for alert in group.alerts))
