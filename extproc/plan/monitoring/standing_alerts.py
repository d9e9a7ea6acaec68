"""Alerts that hold in every phase: the SLA's error budget, extproc itself, and what a rollout asks people for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from extproc import contract
from extproc.domain import Arm, Rollout, Spec, Status
from extproc.domain.seconds import HOUR, MINUTE
from extproc.plan.monitoring import world
from extproc.plan.monitoring.alert import Alert, Severity, Values
from extproc.plan.monitoring.series import quoted
from extproc.plan.monitoring.windows import FAST, SLOW, Burn, written
from extproc.release.sentences import duration, percent

RECORDED: Final = "extproc:failures:ratio_rate"
"""Share of all requests that failed, those without a decision included; the window is the end of its name."""
FAIL_OPEN: Final = 0.01
"""Share of requests without a decision that is no longer the odd one that came too late."""
STALE: Final = 10.0
"""Seconds for which a router may find no readable store before somebody has to look; it reads it many times a second."""

SKEWED: Final = 2.0
"""Seconds between two clocks that `extproc doctor` complains of: outcomes are read at fixed ages, the first of them 1 s."""
UPGRADED: Final = 30 * MINUTE
"""An upgrade has two versions for a while; one that takes longer has stopped halfway."""
OFF_FOR: Final = 10 * MINUTE
"""Whoever switched the processor off knows it; this is for when they forget."""


def recordings() -> list[dict[str, object]]:
    """What the alerts about the SLA read."""
    windows = dict.fromkeys(written(window) for burn in (*FAST, *SLOW) for window in (burn.long, burn.short))
    return [{"record": f"{RECORDED}{window}", "expr": _failed(window)} for window in windows]


def _failed(window: str) -> str:
    both = (contract.METRIC_OUTCOMES, contract.METRIC_UNDECIDED)
    failed = " + ".join(f'sum(rate({metric}{{result="failed"}}[{window}]))' for metric in both)
    whole = " + ".join(f"sum(rate({metric}[{window}]))" for metric in both)
    return f"({failed})\n/ ({whole})"


def application_alerts(spec: Spec) -> Iterator[Alert]:
    """About the application and extproc, whatever is being released."""
    rollout, index = next(iter(spec.rollouts.values())), 0
    each = world.pace(spec, rollout, index)
    failing = {
        series: value for arm in (Arm.CANARY, Arm.CONTROL) for series, value in world.outcomes(rollout, index, arm, 0.0, each).items()
    }
    yield _burning(spec, "SlaErrorBudgetBurnsFast", Severity.PAGE, 2 * MINUTE, FAST, failing)
    yield _burning(spec, "SlaErrorBudgetBurnsSlowly", Severity.TICKET, 15 * MINUTE, SLOW, failing)
    yield _no_watcher(spec)
    yield _controller_silent()
    yield _snapshot_stale()
    yield _fail_open(world.undecided(spec, rollout, each * 10, 0.0))
    yield _router_clock_skew()
    yield _router_versions_differ()
    yield _envoy_refuses()
    yield _processor_off()


def _burning(spec: Spec, name: str, severity: Severity, wait: float, burns: Sequence[Burn], bad: Values) -> Alert:
    uptime = spec.application.sla.uptime

    def above(window: float, burn: Burn) -> str:
        return f"{RECORDED}{written(window)} > {burn.threshold(uptime):.10g}"

    expr = "\nor on() ".join(f"({above(burn.long, burn)} and on() {above(burn.short, burn)})" for burn in burns)
    paces = ", or ".join(f"more than {percent(burn.threshold(uptime))} of all requests over {duration(burn.long)}" for burn in burns)
    said = f"Failed have {paces}. The SLA's {percent(uptime)} leave {percent(1 - uptime)}."
    return Alert(name, expr, wait, severity, f"{spec.application.name} burns the error budget of its SLA", said, bad)


def _no_watcher(spec: Spec) -> Alert:
    lease = spec.application.watch_lease
    said = (
        f"A router has seen no evaluation for more than the lease of {lease:g} s, and sends canary traffic to stable until it does. "
        "The controller stands still, or the store between them cannot be read."
    )
    bad = {world.named(contract.METRIC_HEARTBEAT_AGE, worker="0"): world.constant(lease * 10)}
    expr = f"max({contract.METRIC_HEARTBEAT_AGE}) > {lease:.10g}"
    return Alert("NoWatcher", expr, MINUTE / 2, Severity.PAGE, "Nobody watches the canary: it is withdrawn", said, bad)


def _controller_silent() -> Alert:
    up = contract.METRIC_CONTROLLER_UP
    said = "The controller does not answer its API process, or Prometheus reaches neither: nothing is decided, and nothing is measured."
    bad = {up: world.constant(0)}
    return Alert("ControllerSilent", f"max({up}) == 0 or absent({up})", MINUTE, Severity.PAGE, "The controller does not answer", said, bad)


def _snapshot_stale() -> Alert:
    generation = contract.METRIC_GENERATION
    behind = f'max({generation}{{worker=""}}) - min({generation}{{worker!=""}}) > 0'
    expr = f"max({contract.METRIC_SNAPSHOT_AGE}) > {STALE:g}\nor on() {behind}"
    said = f"A router has found no readable store for {STALE:g} s, or is not at the controller's generation: it decides by what was."
    bad = {world.named(contract.METRIC_SNAPSHOT_AGE, worker="0"): world.constant(STALE * 60)}
    return Alert("SnapshotStale", expr, MINUTE, Severity.PAGE, "A router decides by an old snapshot", said, bad)


def _fail_open(bad: Values) -> Alert:
    ended = f"sum(rate({contract.METRIC_UNDECIDED}[5m]))"
    unmatched = f'sum(rate({contract.METRIC_DECISIONS}{{reason="no_match"}}[5m]))'
    expr = f"({ended} - {unmatched})\n/ ({ended} + sum(rate({contract.METRIC_OUTCOMES}[5m]))) > {FAIL_OPEN:g}"
    said = f"Of more than {percent(FAIL_OPEN)} of the requests no decision came in time, and stable answered: are routers down, or slow?"
    return Alert("FailOpen", expr, 2 * MINUTE, Severity.PAGE, "Envoy serves stable without a decision", said, bad)


def _router_clock_skew() -> Alert:
    skew = contract.METRIC_ROUTER_SKEW
    said = (
        f"The clock of a router and the controller's differ by more than {SKEWED:g} s: ages of requests and instants in records are wrong. "
        "`extproc status` says which router it is."
    )
    bad = {world.skew(): world.constant(SKEWED * 5)}
    return Alert("RouterClockSkew", f"max({skew}) > {SKEWED:g}", 5 * MINUTE, Severity.TICKET, "A router's clock is wrong", said, bad)


def _router_versions_differ() -> Alert:
    versions = contract.METRIC_ROUTER_VERSIONS
    said = f"For {duration(UPGRADED)} routers and controller have not all been of the same version: an upgrade has stopped halfway."
    summary = "Routers and controller are of different versions"
    bad = {versions: world.constant(2)}
    return Alert("RouterVersionsDiffer", f"max({versions}) > 1", UPGRADED, Severity.TICKET, summary, said, bad)


def _envoy_refuses() -> Alert:
    """Only where Envoys are told over xDS: else there is no such series, and it is quiet."""
    refused = contract.METRIC_XDS_REFUSED
    said = (
        "An Envoy refused a part of its configuration and keeps what it had: requests go on, and the Spec's last change is not in force "
        "there. `extproc status` has its reason."
    )
    bad = {world.refused(): world.constant(1)}
    return Alert("EnvoyRefuses", f"max({refused}) == 1", MINUTE, Severity.TICKET, "An Envoy refuses its configuration", said, bad)


def _processor_off() -> Alert:
    off = contract.METRIC_PROCESSOR_OFF
    said = "A person switched the processor off: every request gets its default, and rollouts hold until somebody switches it on."
    bad = {off: world.constant(1)}
    return Alert("ProcessorOff", f"max({off}) == 1", OFF_FOR, Severity.TICKET, "The processor is switched off", said, bad)


def rollout_alerts(rollout: Rollout) -> Iterator[Alert]:
    """What a rollout asks people for, and what it tells them."""
    name = rollout.name
    only = f"{{rollout={quoted(name)}}}"

    def status(which: Status) -> str:
        return f"{contract.METRIC_STATUS}{{rollout={quoted(name)},status={quoted(which.value)}}}"

    blind = {f"{contract.METRIC_BLIND}{only}": world.constant(1)}
    said = (
        "Fewer decisions come back in Envoy's access log than were made: outcomes are missing, and canary traffic goes to stable meanwhile."
    )
    yield Alert("RolloutBlind", f"max({contract.METRIC_BLIND}{only}) == 1", MINUTE, Severity.PAGE, f"{name} is blind", said, blind, name)
    if rollout.shadow is not None:
        silent = f"{contract.METRIC_SHADOW_SILENT}{only}"
        quiet = "Requests that ought to be mirrored have no copies: its shadow shows nothing."
        bad = {silent: world.constant(1)}
        yield Alert("MirrorSilent", f"max({silent}) == 1", MINUTE, Severity.TICKET, f"The mirror of {name} is silent", quiet, bad, name)
    held = {f"{contract.METRIC_PAGE}{only}": world.constant(1)}
    waits = f"max({contract.METRIC_PAGE}{only}) == 1\nor on() max({status(Status.AWAITING_APPROVAL)}) == 1"
    said = "It is held, or waits for an approval, until somebody has looked: `extproc status` says why."
    yield Alert("RolloutNeedsSomebody", waits, MINUTE, Severity.PAGE, f"{name} waits for a person", said, held, name)
    back = status(Status.ROLLED_BACK)
    rolled = {back: world.constant(1)}
    newly = f"max({back}) == 1\nunless on() max({back} offset {written(HOUR)}) == 1"
    said = f"All of its traffic goes to {rollout.stable}. Why: `extproc journal {name}`. This alert ends by itself after an hour."
    yield Alert("CanaryRolledBack", newly, 0.0, Severity.TICKET, f"{rollout.canary} was rolled back", said, rolled, name)
