"""Counters of all workers as one Prometheus exposition, made at scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from extproc import contract
from extproc.router.processor import DECISION_BUCKETS, SAMPLE_EVERY
from extproc.runtime import FileState


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker as the supervisor sees it."""

    index: int
    restarts: Mapping[str, int]
    """By reason: `died`, `hung`."""
    report: dict[str, Any] | None
    """Fields of worker.WorkerReport; None where it does not answer."""


class _Collected:
    """Adapter: prometheus-client asks a registry's collectors for families."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def exposition(views: Sequence[WorkerView], file: FileState) -> bytes:
    """Prometheus text of all workers together; `file` is what the supervisor knows of the Spec's file."""
    registry = CollectorRegistry()
    registry.register(_Collected(_families(views, file)))
    return generate_latest(registry)


def _families(views: Sequence[WorkerView], file: FileState) -> Iterator[Metric]:
    reports = [(str(view.index), view.report) for view in views if view.report is not None]
    yield _decisions([report for _, report in reports])
    yield _fates([report for _, report in reports], "token", contract.METRIC_TOKENS_SEEN, "Conversation tokens, by what became of them.")
    yield _fates([report for _, report in reports], "qa", contract.METRIC_OVERRIDES, "Signed QA headers that did not count.")
    yield _decision_times([report for _, report in reports])
    workers = GaugeMetricFamily(contract.METRIC_WORKERS, "Workers of this router by state.", labels=["state"])
    workers.add_metric(["serving"], len(reports))
    workers.add_metric(["silent"], len(views) - len(reports))
    yield workers
    generation = GaugeMetricFamily(contract.METRIC_GENERATION, "State generation of the snapshot in use.", labels=["worker"])
    age = GaugeMetricFamily(contract.METRIC_SNAPSHOT_AGE, "Seconds since the store was last found readable.", labels=["worker"])
    shed = CounterMetricFamily(contract.METRIC_SHED, "Requests not decided: Envoy had given them up before.", labels=["worker"])
    errors = CounterMetricFamily(contract.METRIC_DECISION_ERRORS, "Decisions that ended in an exception.", labels=["worker"])
    faults = CounterMetricFamily(contract.METRIC_CONNECTION_FAULTS, "Connections ended for the peer's fault.", labels=["worker", "code"])
    reloads = CounterMetricFamily(contract.METRIC_RELOAD_FAILURES, "Reads or Specs of no use; the last good stays.", labels=["worker"])
    restarts = CounterMetricFamily(contract.METRIC_WORKER_RESTARTS, "Times a worker was restarted.", labels=["worker", "reason"])
    heartbeat = GaugeMetricFamily(contract.METRIC_HEARTBEAT_AGE, "Seconds since the controller last evaluated.", labels=["worker"])
    withdrawn = GaugeMetricFamily(contract.METRIC_WITHDRAWN, "Workers that keep a rollout's units from its canary.", labels=["rollout"])
    problem = GaugeMetricFamily(contract.METRIC_SPEC_PROBLEM, "1 while what the Spec's file says is not in force: see /healthz.")
    problem.add_metric([], bool(file.problems))
    for worker, report in reports:
        generation.add_metric([worker], report["generation"])
        age.add_metric([worker], report["age"])
        if report["heartbeat_age"] is not None:
            heartbeat.add_metric([worker], report["heartbeat_age"])
        errors.add_metric([worker], report["errors"])
        shed.add_metric([worker], report["shed"])
        for code, count in sorted(report["faults"].items()):
            faults.add_metric([worker, code], count)
        reloads.add_metric([worker], report["reload_failures"])
    for view in views:
        for reason, count in sorted(view.restarts.items()):
            restarts.add_metric([str(view.index), reason], count)
    for rollout, count in sorted(Counter(name for _, report in reports for name in report["withdrawn"]).items()):
        withdrawn.add_metric([rollout], count)
    reloads.add_metric(["supervisor"], file.failures)
    yield from (generation, age, heartbeat, withdrawn, errors, shed, faults, reloads, restarts, problem)


def _decisions(reports: Sequence[dict[str, Any]]) -> Metric:
    family = CounterMetricFamily(
        contract.METRIC_DECISIONS, "Decisions by rollout, cohort, arm and reason.", labels=["rollout", "cohort", "arm", "reason"]
    )
    total: Counter[tuple[str, ...]] = Counter()
    for report in reports:
        for *labels, count in report["decisions"]:
            total[tuple(labels)] += count
        # Shown at 0 too: what Envoy answered without a decision is counted against it.
        total["", "", "", "no_match"] += report["unmatched"]
    for labels, count in sorted(total.items()):
        family.add_metric(labels, count)
    return family


def _fates(reports: Sequence[dict[str, Any]], kind: str, name: str, text: str) -> Metric:
    family = CounterMetricFamily(name, text, labels=["rollout", "fate"])
    total: Counter[tuple[str, str]] = Counter()
    for report in reports:
        for what, rollout, fate, count in report["fates"]:
            if what == kind:
                total[rollout, fate] += count
    for labels, count in sorted(total.items()):
        family.add_metric(labels, count)
    return family


def _decision_times(reports: Sequence[dict[str, Any]]) -> Metric:
    counts = [sum(column) for column in zip(*(report["time_buckets"] for report in reports), strict=True)] or [0] * (
        len(DECISION_BUCKETS) + 1
    )
    cumulated = list(accumulate(counts))
    bounds = [*(str(bound) for bound in DECISION_BUCKETS), "+Inf"]
    help_text = f"Time of a decision, bytes in to bytes out; 1 in {SAMPLE_EVERY} is measured."
    total = sum(report["time_total"] for report in reports)
    family = HistogramMetricFamily(contract.METRIC_DECISION_SECONDS, help_text)
    family.add_metric([], list(zip(bounds, cumulated, strict=True)), total)
    return family
