"""The controller's Prometheus series: counters while outcomes arrive, gauges at scrape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from extproc import contract
from extproc.controller.loop import Loop
from extproc.controller.view import e_value, share_now
from extproc.domain import Arm, Mirrored, Outcome, Status, Undecided, Verdict
from extproc.release import Pairs, harm_limit
from extproc.store import FAILURE_KINDS

SECONDS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0, 60.0, 120.0)
"""Bucket ends for answers of LLMs, from a cached word to a long report."""
SHADOW: Final = "shadow"
"""In the place of an arm: nobody got these answers."""


class ControllerMetrics:
    """One registry per controller."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        arm = ["rollout", "cohort", "arm"]
        self._outcomes = Counter(contract.METRIC_OUTCOMES, "Requests that ended, by result.", [*arm, "result"], registry=registry)
        self._ttft = Histogram(contract.METRIC_TTFT, "Time to the first token.", ["rollout", "arm"], buckets=SECONDS, registry=registry)
        self._duration = Histogram(
            contract.METRIC_DURATION, "Time to the end of an answer.", ["rollout", "arm"], buckets=SECONDS, registry=registry
        )
        self._seconds: dict[tuple[str, bool], tuple[Histogram, Histogram]] = {}
        self._tokens = Counter(contract.METRIC_TOKENS, "Tokens, by model that answered.", [*arm, "model", "type"], registry=registry)
        self._late = Gauge(contract.METRIC_LATE_OUTCOMES, "Outcomes that came too late to be looked at.", ["rollout"], registry=registry)
        self._undecided = Counter(
            contract.METRIC_UNDECIDED,
            "Requests that ended without an assignment: no rollout matched, or no decision came in time.",
            ["cluster", "result"],
            registry=registry,
        )
        self._generation = Gauge(contract.METRIC_GENERATION, "Generation of State.", registry=registry)
        self._phase = Gauge(contract.METRIC_PHASE, "Index of the phase, from 1; 0 outside of one.", ["rollout"], registry=registry)
        self._share = Gauge(contract.METRIC_SHARE, "Share of units that meet the canary.", ["rollout"], registry=registry)
        self._status = Gauge(contract.METRIC_STATUS, "1 for the present status.", ["rollout", "status"], registry=registry)
        self._verdict = Gauge(contract.METRIC_VERDICT, "1 for the present verdict.", ["rollout", "gate", "verdict"], registry=registry)
        self._page = Gauge(contract.METRIC_PAGE, "1 while it is held and somebody has to look.", ["rollout"], registry=registry)
        self._out = Gauge(contract.METRIC_COHORT_OUT, "1 while rolled back by itself.", ["rollout", "cohort"], registry=registry)
        self._override = Gauge(
            contract.METRIC_OVERRIDE, "Seconds for which a person answers for missing evidence.", ["rollout"], registry=registry
        )
        self._e = Gauge(contract.METRIC_E_VALUE, "E-value against a null: harm or safe.", ["rollout", "gate", "null"], registry=registry)
        self._limit = Gauge(contract.METRIC_E_LIMIT, "The e-value of harm that rolls back.", ["rollout"], registry=registry)
        self._reloads_shown = 0
        self._reloads = Counter(
            contract.METRIC_RELOAD_FAILURES, "Changes of the Spec's file that were of no use; the last good stays.", registry=registry
        )
        self._problem = Gauge(
            contract.METRIC_SPEC_PROBLEM, "1 while what the Spec's file says is not in force: see status.", registry=registry
        )
        self._blind = Gauge(
            contract.METRIC_BLIND, "1 while too few decisions are heard of in the access log.", ["rollout"], registry=registry
        )
        self._routers = Gauge(contract.METRIC_ROUTERS, "Routers by state: present, silent.", ["state"], registry=registry)
        self._copies = Counter(contract.METRIC_COPIES, "Copies of requests that ended.", ["rollout", "result"], registry=registry)
        of_rollout = ["rollout"]
        self._pairs = Gauge(contract.METRIC_SHADOW_PAIRS, "Requests answered by both models.", of_rollout, registry=registry)
        self._copies_failed = Gauge(contract.METRIC_SHADOW_FAILED, "Of these, failed.", ["rollout", "arm"], registry=registry)
        self._shadow_spent = Gauge(contract.METRIC_SHADOW_SPENT, "USD that the copies have cost.", of_rollout, registry=registry)
        self._silent = Gauge(contract.METRIC_SHADOW_SILENT, "1 while copies do not arrive.", of_rollout, registry=registry)
        self._store_failures = Counter(
            contract.METRIC_STORE_FAILURES, "Reads and writes of the store that failed: see status.", ["kind"], registry=registry
        )
        self._store_shown = dict.fromkeys(FAILURE_KINDS, 0)

    def count(self, outcomes: Sequence[Outcome]) -> None:
        """Outcomes as they arrive, those of a message together; only ends count."""
        ended: dict[tuple[str, str, str, str], int] = {}
        tokens: dict[tuple[str, str, str, str, str], int] = {}
        for outcome in outcomes:
            if outcome.final:
                key = outcome.rollout, outcome.cohort, outcome.arm.value, _result(outcome)
                ended[key] = ended.get(key, 0) + 1
                _count_tokens(outcome, tokens)
                ttft, duration = self._seconds_of(outcome)
                if outcome.ttft is not None:
                    ttft.observe(outcome.ttft)
                duration.observe(outcome.duration)
        for key, count in ended.items():
            self._outcomes.labels(*key).inc(count)
        for labels, count in tokens.items():
            self._tokens.labels(*labels).inc(count)

    def _seconds_of(self, outcome: Outcome) -> tuple[Histogram, Histogram]:
        """Time to the first token, and to the end, of its rollout and arm."""
        key = outcome.rollout, outcome.arm is Arm.CANARY
        found = self._seconds.get(key)
        if found is None:
            labels = outcome.rollout, "canary" if key[1] else "stable"
            found = self._seconds[key] = self._ttft.labels(*labels), self._duration.labels(*labels)
        return found

    def count_undecided(self, undecided: Sequence[Undecided]) -> None:
        """Requests without an assignment; their tokens count under no rollout."""
        for one in undecided:
            self._undecided.labels(one.answered_by, "failed" if one.failed else "ok").inc()
            if one.output_tokens:
                self._tokens.labels("", "", "", one.model or one.answered_by, "output").inc(one.output_tokens)

    def count_copies(self, mirrored: Sequence[Mirrored]) -> None:
        """Copies of requests, in a shadow; their tokens are nobody's but the shadow's."""
        for one in mirrored:
            if one.final:
                self._copies.labels(one.rollout, "failed" if one.failed else "throttled" if one.throttled else "ok").inc()
                for kind, count in (("input", one.input_tokens), ("cached", one.cached_tokens), ("output", one.output_tokens)):
                    if count:
                        self._tokens.labels(one.rollout, "", SHADOW, one.model or one.answered_by, kind).inc(count)

    def exposition(self, loop: Loop, routers: Mapping[str, int]) -> bytes:
        """Prometheus text."""
        self._generation.set(loop.state.generation)
        self._reloads.inc(loop.spec_file.failures - self._reloads_shown)
        self._reloads_shown = loop.spec_file.failures
        self._problem.set(bool(loop.spec_file.problems))
        for present, count in routers.items():
            self._routers.labels(present).set(count)
        for kind, count in loop.store_health.failures.items():
            self._store_failures.labels(kind).inc(count - self._store_shown[kind])
            self._store_shown[kind] = count
        self._expose(loop)
        return generate_latest(self._registry)

    def _expose(self, loop: Loop) -> None:
        """Gauges of rollouts. One that a new Spec no longer has, or a gate of a phase that was left, must not be shown as it last was."""
        of_rollouts = (self._blind, self._late, self._phase, self._share, self._status, self._limit, self._page, self._out, self._override)
        of_shadows = self._pairs, self._copies_failed, self._shadow_spent, self._silent
        for gauge in (*of_rollouts, *of_shadows, self._e, self._verdict):
            gauge.clear()
        for name, desk in loop.desks.items():
            state = loop.state.rollouts[name]
            self._blind.labels(name).set(name in loop.blind)
            self._late.labels(name).set(desk.evidence.late_outcomes)
            self._phase.labels(name).set(state.phase + 1 if state.status.exposes else 0)
            self._share.labels(name).set(share_now(desk, state))
            self._page.labels(name).set(desk.decision.page)
            self._override.labels(name).set(max(0.0, state.override_until - loop.last_tick) if state.status.exposes else 0.0)
            self._limit.labels(name).set(e_value(harm_limit(desk.rollout, desk.evidence.attempt)))
            if desk.pairs is not None:
                self._expose_shadow(name, desk.pairs, state.status is Status.SHADOW)
            for cohort in state.cohorts_out:
                self._out.labels(name, cohort).set(1)
            for status in Status:
                self._status.labels(name, status.value).set(state.status is status)
            for finding in desk.findings:
                self._e.labels(name, finding.gate, "harm").set(e_value(finding.log_e_harm))
                self._e.labels(name, finding.gate, "safe").set(e_value(finding.log_e_safe))
                for verdict in Verdict:
                    self._verdict.labels(name, finding.gate, verdict.value).set(finding.verdict is verdict)

    def _expose_shadow(self, name: str, pairs: Pairs, present: bool) -> None:
        self._pairs.labels(name).set(pairs.count)
        self._shadow_spent.labels(name).set(pairs.spent)
        self._silent.labels(name).set(present and bool(pairs.silent))
        for arm, totals in pairs.arms.items():
            self._copies_failed.labels(name, arm).set(totals.failures)


def _count_tokens(outcome: Outcome, tokens: dict[tuple[str, str, str, str, str], int]) -> None:
    for kind, count in (("input", outcome.input_tokens), ("cached", outcome.cached_tokens), ("output", outcome.output_tokens)):
        if count:
            key = outcome.rollout, outcome.cohort, outcome.arm.value, outcome.model or outcome.answered_by, kind
            tokens[key] = tokens.get(key, 0) + count


def _result(outcome: Outcome) -> str:
    if outcome.failed:
        return "failed"
    if outcome.throttled:
        return "throttled"
    return "client_aborted" if outcome.client_aborted else "ok"
