"""Monitors for Datadog: the alerts of Prometheus' rules, asked there. What Datadog cannot ask is left out: how long ago something was, and
whether there were enough requests; so these need a longer look to be as quiet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from extproc import contract
from extproc.domain import Arm, Spec, Status
from extproc.domain.seconds import HOUR, MINUTE
from extproc.plan.monitoring.alert import Alert, Severity
from extproc.plan.monitoring.alerts import Group, groups
from extproc.plan.monitoring.phase_alerts import COMPARED, SAID, SLA_TTFT
from extproc.plan.monitoring.series import Expression, Gauge, Quantile, Rate, Ratio, Where, cost, failures, mean, of
from extproc.plan.monitoring.standing_alerts import FAIL_OPEN, SKEWED, STALE
from extproc.plan.monitoring.windows import FAST, look

WINDOWS: Final = {5 * MINUTE: "5m", 10 * MINUTE: "10m", 15 * MINUTE: "15m", 30 * MINUTE: "30m", HOUR: "1h", 2 * HOUR: "2h", 4 * HOUR: "4h"}
"""How far a monitor may look back: Datadog has a list."""
WORDS: Final = {**{measure: word for measure, (word, _) in COMPARED.items()}, **SAID}
"""Measure -> word of the name of its alert."""
SHORT: Final = "5m"
PRIORITIES: Final = {Severity.PAGE: 1, Severity.TICKET: 3}


@dataclass(frozen=True, slots=True)
class Monitor:
    """One monitor, and what it reads."""

    document: dict[str, Any]
    """For POST /api/v1/monitor."""
    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question: how the window is put together, a formula of parts, and the bound."""

    over: str
    """`sum(last_1h)`, `max(last_5m)`."""
    formula: str
    """With {0}, {1} ... for the parts."""
    parts: tuple[Expression, ...]
    bound: str
    """`> 0.05`."""

    @property
    def query(self) -> str:
        """As Datadog reads it."""
        return f"{self.over}:{self.formula.format(*(_counted(part) for part in self.parts))} {self.bound}"

    @property
    def critical(self) -> float:
        return float(self.bound.split()[1])


def monitors(spec: Spec) -> list[Monitor]:
    """In the order of the alerts."""
    found = []
    for group in groups(spec):
        for alert in group.alerts:
            asked = _application(spec, alert) or _rollout(alert) or _phase(spec, group, alert)
            if asked is not None:
                found.append(Monitor(_document(spec, alert, asked), asked.parts))
    return found


def _document(spec: Spec, alert: Alert, asked: _Asked) -> dict[str, Any]:
    said = alert.annotations(spec)
    handle = spec.alerts.datadog if spec.alerts is not None else ""
    where = f", phase {alert.phase}" if alert.phase else ""
    tags = [f"service:{spec.application.name}", "team:release", f"severity:{alert.severity.value}"]
    return {
        "name": f"{alert.name}: {alert.rollout or spec.application.name}{where}",
        "type": "query alert",
        "query": asked.query,
        "message": "\n".join(line for line in (said["summary"], said["description"], said["runbook_url"], handle) if line),
        "tags": [*tags, *([f"rollout:{alert.rollout}"] if alert.rollout else [])],
        "priority": PRIORITIES[alert.severity],
        "options": {
            "thresholds": {"critical": asked.critical},
            # A controller that is not there sends nothing; of a phase that is over nothing comes either, and that is well.
            "notify_no_data": alert.name == "ControllerSilent",
            **({"no_data_timeframe": 10} if alert.name == "ControllerSilent" else {}),
            "include_tags": True,
            "require_full_window": False,
        },
    }


def _counted(part: Expression) -> str:
    """Over a whole window counts are compared, and no rates."""
    return part.datadog().replace(".as_rate()", ".as_count()")


def _application(spec: Spec, alert: Alert) -> _Asked | None:
    ended, undecided = Rate(contract.METRIC_OUTCOMES), Rate(contract.METRIC_UNDECIDED)
    match alert.name:
        case "SlaErrorBudgetBurnsFast":
            failed = tuple(Rate(metric, (("result", "=", "failed"),)) for metric in (contract.METRIC_OUTCOMES, contract.METRIC_UNDECIDED))
            bound = f"> {FAST[0].threshold(spec.application.sla.uptime):.10g}"
            return _Asked("sum(last_1h)", "({0} + {1}) / ({2} + {3})", (*failed, ended, undecided), bound)
        case "NoWatcher":
            return _Asked(f"min(last_{SHORT})", "{0}", (Gauge(contract.METRIC_HEARTBEAT_AGE),), f"> {spec.application.watch_lease:.10g}")
        case "ControllerSilent":
            return _Asked(f"max(last_{SHORT})", "{0}", (Gauge(contract.METRIC_CONTROLLER_UP),), "< 1")
        case "SnapshotStale":
            return _Asked(f"min(last_{SHORT})", "{0}", (Gauge(contract.METRIC_SNAPSHOT_AGE),), f"> {STALE:g}")
        case "FailOpen":
            unmatched = Rate(contract.METRIC_DECISIONS, (("reason", "=", "no_match"),))
            return _Asked(f"sum(last_{SHORT})", "({0} - {1}) / ({0} + {2})", (undecided, unmatched, ended), f"> {FAIL_OPEN:g}")
        case "RouterClockSkew":
            return _Asked(f"min(last_{SHORT})", "{0}", (Gauge(contract.METRIC_ROUTER_SKEW),), f"> {SKEWED:g}")
        case "RouterVersionsDiffer":
            return _Asked("min(last_30m)", "{0}", (Gauge(contract.METRIC_ROUTER_VERSIONS),), "> 1")
        case "EnvoyRefuses":
            return _Asked(f"min(last_{SHORT})", "{0}", (Gauge(contract.METRIC_XDS_REFUSED),), ">= 1")
        case "ProcessorOff":
            return _Asked("min(last_10m)", "{0}", (Gauge(contract.METRIC_PROCESSOR_OFF),), ">= 1")
    return None


def _rollout(alert: Alert) -> _Asked | None:
    here = of(alert.rollout)
    match alert.name:
        case "RolloutBlind":
            asked = Gauge(contract.METRIC_BLIND, here)
        case "MirrorSilent":
            asked = Gauge(contract.METRIC_SHADOW_SILENT, here)
        case "RolloutNeedsSomebody":
            asked = Gauge(contract.METRIC_PAGE, here)
        case "CanaryRolledBack":
            asked = Gauge(contract.METRIC_STATUS, (*here, ("status", "=", Status.ROLLED_BACK.value)))
        case "JudgeSilent":
            return _Asked("min(last_15m)", "{0}", (Gauge(contract.METRIC_JUDGE_SILENT),), ">= 1")
        case _:
            return None
    return _Asked(f"min(last_{SHORT})", "{0}", (asked,), ">= 1")


def _phase(spec: Spec, group: Group, alert: Alert) -> _Asked | None:
    """Of a phase's own series: they end with it, and so does the monitor."""
    phase = group.rollout.phases[group.phase]
    seen = look(spec, group.rollout, group.phase)
    window = next((text for seconds, text in WINDOWS.items() if seconds >= seen.window), "4h")
    canary, control = of(alert.rollout, Arm.CANARY, alert.phase), of(alert.rollout, Arm.CONTROL, alert.phase)
    margins = {gate.measure: gate.margin for gate in phase.gates}
    if alert.name == "CanaryErrorBudgetBurn":
        bound = f"> {seen.burn.threshold(spec.application.sla.uptime):.10g}"
        return _Asked(f"sum(last_{window})", "{0} / {1}", failures(canary).parts, bound)
    if alert.name == "CanaryTimeToFirstTokenAboveSla":
        asked = Quantile(contract.METRIC_TTFT, canary, share=SLA_TTFT)
        return _Asked(f"percentile(last_{window})", "{0}", (asked,), f"> {spec.application.sla.ttft:.10g}")
    if alert.name == "CanaryErrorsWorseThanControl":
        parts = (*failures(canary).parts, *failures(control).parts)
        return _Asked(f"sum(last_{window})", "{0} / {1} - {2} / {3}", parts, f"> {margins['errors']:.10g}")
    for measure, word in WORDS.items():
        if alert.name == f"Canary{word}WorseThanControl":
            return _compared(measure, margins[measure], window, canary, control)
    return None


def _compared(measure: str, margin: float, window: str, canary: Where, control: Where) -> _Asked:
    """Control and canary by one measure."""
    if measure in SAID:
        # What is said of answers is that of the present phase, and has no label of it.
        asked = tuple(Gauge(contract.METRIC_RATED_MEAN, (*where[:2], ("measure", "=", measure))) for where in (control, canary))
        return _Asked("avg(last_15m)", "{0} - {1}", asked, f"> {margin:.10g}")
    return _Asked(f"sum(last_{window})", "({0} / {1}) / ({2} / {3})", _means(measure, canary, control), f"> {1 + margin:.10g}")


def _means(measure: str, canary: Where, control: Where) -> tuple[Rate, ...]:
    metric = COMPARED[measure][1]

    def one(where: Where) -> Ratio:
        return cost(where) if metric == contract.METRIC_COST else mean(metric, where)

    return (*one(canary).parts, *one(control).parts)
