"""Series of a world in which all is well, for tests of alerts: a phase as it should be, with as many requests as its alerts need."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from extproc import contract
from extproc.domain import Arm, Rollout, Spec, Status
from extproc.plan.monitoring.panels import priced
from extproc.plan.monitoring.series import quoted
from extproc.plan.monitoring.windows import look

MINUTES: Final = 120
"""Samples of each series, one a minute."""
RATINGS: Final = 500


def constant(value: float) -> str:
    """A series that stays."""
    return f"{value:.10g}x{MINUTES}"


def rising(each_minute: float) -> str:
    """A counter."""
    return f"0+{each_minute:.10g}x{MINUTES}"


def named(metric: str, **labels: str) -> str:
    """A series by its name and labels."""
    inner = ",".join(f"{label}={quoted(value)}" for label, value in labels.items())
    return f"{metric}{{{inner}}}" if inner else metric


def pace(spec: Spec, rollout: Rollout, index: int) -> float:
    """Requests of an arm in a minute."""
    return float(max(60, math.ceil(look(spec, rollout, index).needed / 2)))


def good(spec: Spec, rollout: Rollout, index: int) -> dict[str, str]:
    """The whole world, with this rollout in this phase."""
    return {**_extproc(spec), **_rollout(rollout, index), **dict(_arms(spec, rollout, index))}


def outcomes(rollout: Rollout, index: int, arm: Arm, ok: float, failed: float) -> dict[str, str]:
    """Results of an arm in the last cohort, in a minute."""
    results = (("ok", ok), ("failed", failed))
    return {arm_series(contract.METRIC_OUTCOMES, rollout, index, arm, result=result): rising(each) for result, each in results}


def arm_series(metric: str, rollout: Rollout, index: int, arm: Arm, **labels: str) -> str:
    """A series of an arm in a phase."""
    cohort, phase = rollout.cohorts[-1].name, rollout.phases[index].name
    return named(metric, rollout=rollout.name, cohort=cohort, arm=arm.value, phase=phase, **labels)


def seconds(metric: str, rollout: Rollout, index: int, arm: Arm, each_minute: float, value: float, end: str) -> dict[str, str]:
    """A histogram of which every value is in the bucket that ends at `end`, or beyond the largest where that is `+Inf`."""
    found = {
        arm_series(f"{metric}_sum", rollout, index, arm): rising(each_minute * value),
        arm_series(f"{metric}_count", rollout, index, arm): rising(each_minute),
    }
    for bucket in ("0.05", "120.0", "+Inf"):
        below = float(bucket) >= float(end)
        found[arm_series(f"{metric}_bucket", rollout, index, arm, le=bucket)] = rising(each_minute if below else 0.0)
    return found


def rated(rollout: Rollout, measure: str, arm: Arm, value: float) -> dict[str, str]:
    """What is said of an arm's answers."""
    labels = {"rollout": rollout.name, "measure": measure, "arm": arm.value}
    return {named(contract.METRIC_RATED_MEAN, **labels): constant(value), named(contract.METRIC_RATED, **labels): constant(RATINGS)}


def skew() -> str:
    """A router's clock."""
    return named(contract.METRIC_ROUTER_SKEW, router="router-1")


def refused() -> str:
    """A part that an Envoy refuses."""
    return named(contract.METRIC_XDS_REFUSED, node="edge-1", part="listeners")


def undecided(spec: Spec, rollout: Rollout, ok: float, failed: float) -> dict[str, str]:
    """Requests that end without a decision, in a minute."""
    cluster = spec.models[rollout.stable].backends[0].cluster if rollout.stable in spec.models else rollout.stable
    both = (("ok", ok), ("failed", failed))
    return {named(contract.METRIC_UNDECIDED, cluster=cluster, result=result): rising(each) for result, each in both}


def _arms(spec: Spec, rollout: Rollout, index: int) -> Iterator[tuple[str, str]]:
    each = pace(spec, rollout, index)
    yield from undecided(spec, rollout, 0.0, 0.0).items()
    for arm in (Arm.CANARY, Arm.CONTROL):
        yield from outcomes(rollout, index, arm, each, 0.0).items()
        for metric in (contract.METRIC_TTFT, contract.METRIC_DURATION):
            yield from seconds(metric, rollout, index, arm, each, 0.05, "0.05").items()
        if priced(spec, rollout):
            yield arm_series(contract.METRIC_COST, rollout, index, arm), rising(each * 0.001)
        for measure in rollout.matures:
            yield from rated(rollout, measure, arm, 0.8).items()


def _rollout(rollout: Rollout, index: int) -> dict[str, str]:
    name = rollout.name
    here = {status: status is Status.PROGRESSING for status in (Status.PROGRESSING, Status.AWAITING_APPROVAL, Status.ROLLED_BACK)}
    statuses = {named(contract.METRIC_STATUS, rollout=name, status=status.value): constant(now) for status, now in here.items()}
    return {
        named(contract.METRIC_PHASE, rollout=name): constant(index + 1),
        named(contract.METRIC_BLIND, rollout=name): constant(0),
        named(contract.METRIC_PAGE, rollout=name): constant(0),
        **({named(contract.METRIC_SHADOW_SILENT, rollout=name): constant(0)} if rollout.shadow is not None else {}),
        **statuses,
    }


def _extproc(spec: Spec) -> dict[str, str]:
    judge = {contract.METRIC_JUDGE_SILENT: constant(0)} if spec.judge is not None else {}
    return {
        contract.METRIC_CONTROLLER_UP: constant(1),
        contract.METRIC_GENERATION: constant(7),
        named(contract.METRIC_GENERATION, worker="0"): constant(7),
        named(contract.METRIC_SNAPSHOT_AGE, worker="0"): constant(0.1),
        named(contract.METRIC_HEARTBEAT_AGE, worker="0"): constant(0.5),
        named(contract.METRIC_DECISIONS, rollout="", cohort="", arm="", reason="no_match"): rising(0),
        skew(): constant(0.1),
        contract.METRIC_ROUTER_VERSIONS: constant(1),
        contract.METRIC_PROCESSOR_OFF: constant(0),
        refused(): constant(0),
        **judge,
    }
