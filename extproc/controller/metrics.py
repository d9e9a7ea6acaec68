"""The controller's Prometheus series: counters while outcomes arrive, gauges at scrape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from extproc import contract
from extproc.controller.desk import Desk
from extproc.controller.ended import Ended
from extproc.controller.loop import Loop
from extproc.controller.view import e_value, share_now
from extproc.domain import Arm, JournalEntry, Mirrored, Outcome, Prices, Spec, Status, Undecided, Verdict
from extproc.measures import MEASURES
from extproc.release import Pairs, harm_limit
from extproc.release.guards import CANARY, STABLE
from extproc.store import FAILURE_KINDS

SHADOW: Final = "shadow"
"""In the place of an arm: nobody got these answers."""


class ControllerMetrics:
    """One registry per controller."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._ended = Ended()
        registry.register(self._ended)
        self._digest = ""
        self._prices: Mapping[str, Prices] = {}
        tokens = ["rollout", "cohort", "arm", "model", "type"]
        self._tokens = Counter(contract.METRIC_TOKENS, "Tokens, by model that answered.", tokens, registry=registry)
        leads = Gauge(contract.METRIC_LEADS, "1 where this controller decides, 0 where it stands by.", registry=registry)
        leads.set(1)
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
        said = ["rollout", "measure", "arm"]
        self._rated_mean = Gauge(contract.METRIC_RATED_MEAN, "Mean of what is said of answers, in this visit.", said, registry=registry)
        self._rated = Gauge(contract.METRIC_RATED, "Answers of which it is said.", said, registry=registry)
        marks = ["rollout", "action", "phase"]
        self._journal = Gauge(contract.METRIC_JOURNAL, "When the Journal last told of it, Unix seconds.", marks, registry=registry)
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

    def follow(self, spec: Spec) -> None:
        """Prices are those of this Spec from now on, and its clusters are shown though nothing undecided went there."""
        if spec.digest == self._digest:
            return
        self._digest, self._prices = spec.digest, spec.prices
        for model in spec.models.values():
            for backend in model.backends:
                for result in ("ok", "failed"):
                    self._undecided.labels(backend.cluster, result)

    def count(self, outcomes: Sequence[Outcome]) -> None:
        """Outcomes as they arrive, those of a message together; only ends count."""
        tokens: dict[tuple[str, str, str, str, str], int] = {}
        for outcome in outcomes:
            if outcome.final:
                self._ended.count(outcome, self._prices)
                _count_tokens(outcome, tokens)
        for labels, count in tokens.items():
            self._tokens.labels(*labels).inc(count)

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

    def exposition(self, loop: Loop, routers: Mapping[str, int], journal: Sequence[JournalEntry] = ()) -> bytes:
        """Prometheus text; `journal`: its newest entries, newest first."""
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
        self._journal.clear()
        for entry in reversed(journal):
            self._journal.labels(entry.rollout, entry.action.value, _phase(entry)).set(entry.at)
        return generate_latest(self._registry)

    def _expose(self, loop: Loop) -> None:
        """Gauges of rollouts. One that a new Spec no longer has, or a gate of a phase that was left, must not be shown as it last was."""
        of_rollouts = (self._blind, self._late, self._phase, self._share, self._status, self._limit, self._page, self._out, self._override)
        of_shadows = self._pairs, self._copies_failed, self._shadow_spent, self._silent
        for gauge in (*of_rollouts, *of_shadows, self._e, self._verdict, self._rated_mean, self._rated):
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
            self._expose_rated(name, desk)
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

    def _expose_rated(self, name: str, desk: Desk) -> None:
        """Control stands for stable here: it is what is rated."""
        for measure in desk.rollout.matures:
            if measure in desk.evidence.rated:
                seen = desk.evidence.rated[measure].seen
                for side, arm in ((CANARY, Arm.CANARY), (STABLE, Arm.CONTROL)):
                    labels, moments = (name, measure, arm.value), seen[side]
                    self._rated.labels(*labels).set(moments.n)
                    if moments.n:
                        self._rated_mean.labels(*labels).set(moments.total / moments.n * MEASURES[measure].scale)


def _phase(entry: JournalEntry) -> str:
    """The phase to which an entry leads; empty where it is about none."""
    return str(entry.numbers.get("to", {}).get("phase", ""))


def _count_tokens(outcome: Outcome, tokens: dict[tuple[str, str, str, str, str], int]) -> None:
    for kind, count in (("input", outcome.input_tokens), ("cached", outcome.cached_tokens), ("output", outcome.output_tokens)):
        if count:
            key = outcome.rollout, outcome.cohort, outcome.arm.value, outcome.model or outcome.answered_by, kind
            tokens[key] = tokens.get(key, 0) + count
