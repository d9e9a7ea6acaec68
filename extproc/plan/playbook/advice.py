"""What each alert means for this release, where to look, and which section to go to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from extproc.domain import Spec
from extproc.plan.monitoring.alerts import names
from extproc.plan.playbook import concerned, instant, partial
from extproc.plan.playbook.glance import allowed_failures
from extproc.plan.playbook.place import Place
from extproc.release.sentences import duration, percent

Then = tuple[tuple[str, str], ...]
"""(what was seen, heading of the section to go to)."""


@dataclass(frozen=True, slots=True)
class Advice:
    """Of one alert."""

    means: str
    look: tuple[str, ...]
    """Commands that change nothing."""
    then: Then


def advice(spec: Spec, place: Place) -> dict[str, Advice]:
    """By the alert's name; KeyError for one that nothing is known of."""
    known = dict((*_sla(spec, place), *_extproc(spec, place), *_rollout(spec, place), *_phase(spec, place), *_said(spec, place)))
    return {name: known[name] for name in names(spec)}


def _journals(spec: Spec, place: Place) -> tuple[str, ...]:
    return tuple(place.extproc("journal", name, "--limit", "5") for name in spec.rollouts)


def _partly(spec: Spec) -> Then:
    """Where one cohort can go back alone."""
    several = any(partial.several_cohorts(one) for one in spec.rollouts.values())
    return (("one cohort alone is worse", partial.COHORT),) if several else ()


def _sla(spec: Spec, place: Place) -> Iterator[tuple[str, Advice]]:
    application = spec.application
    allowed = f"{percent(application.sla.uptime)} uptime allows {allowed_failures(application):,} failed requests a day"
    then = (
        ("the canary fails, and stable does not", instant.WITH),
        ("extproc does not answer", instant.WITHOUT),
        ("both models fail: it is no matter of the release; mend it first", partial.OVER),
    )
    look = (place.extproc("status"), *_journals(spec, place))
    fast = f"All requests together, not the canary's alone, fail so often that the month's budget is gone within days: {allowed}."
    slow = f"The same, more slowly: the budget does not last the month ({allowed}). It can wait for the morning, not for the week."
    yield "SlaErrorBudgetBurnsFast", Advice(fast, look, then)
    yield "SlaErrorBudgetBurnsSlowly", Advice(slow, look, then)


def _extproc(spec: Spec, place: Place) -> Iterator[tuple[str, Advice]]:
    lease = f"{spec.application.watch_lease:g} s"
    off, status, doctor = ("you do not want to wait", instant.WITHOUT), place.extproc("status"), place.extproc("doctor")
    back = ("it is to stay off when it is back", instant.WITH)
    means = (
        f"No evaluation was seen for {lease}, so routers send canary traffic to stable: nobody is at risk, and nothing moves. It comes "
        "back by itself with the controller. After completion nobody is sent back. Look at the controller, the store's disk and its "
        "log."
    )
    yield "NoWatcher", Advice(means, (status, doctor), (off, back))
    means = (
        f"Nothing is decided and nothing is measured; after {lease} routers send canary traffic to stable by themselves. Start it "
        "again: State, evidence and Journal are in the store."
    )
    yield "ControllerSilent", Advice(means, (doctor,), (off, back))
    means = (
        "A router cannot read the store, or is behind: it decides by what was, so a rollback may not have reached it. Restart that router; "
        "until then Envoy's switch is the rollback that reaches everybody."
    )
    yield "SnapshotStale", Advice(means, (status, doctor), (("something has to go back now", instant.WITHOUT),))
    means = (
        "Decisions do not come in time, so Envoy serves stable: clients see no error, and the canary gets less than its share. Routers are "
        "down, or have too little CPU. Stable must carry everything meanwhile; after completion that is more than its pool may be made for."
    )
    yield "FailOpen", Advice(means, (status, doctor), (("nothing shall be released in this state", partial.PAUSE),))
    yield from _routers(status, doctor)
    means = (
        "An Envoy that is told over xDS said no to a part of its configuration. It serves what it had, and so does every other one that "
        "had not accepted all of the new one: no request fails, rollbacks reach everybody, and the Spec's last change is not in force. "
        "`status` has Envoy's own words; mend the Spec, and all are asked again."
    )
    yield "EnvoyRefuses", Advice(means, (status,), (("nothing shall be released in this state", partial.PAUSE),))
    means = (
        "Somebody used the last resort: no decision is made or asked for, every request gets its default, and rollouts hold. `status` "
        "and the Journal say who, when and why."
    )
    yield "ProcessorOff", Advice(means, (status,), (("the reason is over, or nobody knows it any more", instant.OFF),))


def _routers(status: str, doctor: str) -> Iterator[tuple[str, Advice]]:
    pause = (("nothing shall be released in this state", partial.PAUSE),)
    means = (
        "Instants that a router writes down, and ages that are made of them, are wrong by as much; nobody is sent to the wrong model by "
        "that. `status` says which router it is: let its machine follow NTP (chrony, systemd-timesyncd), and the controller's too."
    )
    yield "RouterClockSkew", Advice(means, (status, doctor), pause)
    means = (
        "An upgrade has stopped halfway: what the new version knows, only some of them do. Finish it, or take it back. `status --json` has "
        "each router's version."
    )
    yield "RouterVersionsDiffer", Advice(means, (status,), pause)


def _rollout(spec: Spec, place: Place) -> Iterator[tuple[str, Advice]]:
    status, doctor = place.extproc("status"), place.extproc("doctor")
    means = (
        "Decisions were made and too few came back in Envoy's access log: nobody could see harm, so canary traffic goes to stable "
        "until 97 % are heard of again for 10 s. Look at the collector's address and at Envoy's log."
    )
    yield "RolloutBlind", Advice(means, (status, doctor), (("it is to stay off afterwards", instant.WITH),))
    means = (
        "It is held until somebody decides. `status` says why: both models break a ceiling, units do not fall as planned, a metric "
        "keeps no bound, max dwell is over without a decision, or the next share needs an approval."
    )
    journals = _journals(spec, place)
    approve = tuple(
        (f"it may go on: `{place.extproc('promote', name, '--why', 'approved')}`; if not", instant.WITH) for name in spec.rollouts
    )
    yield "RolloutNeedsSomebody", Advice(means, (status, *journals), (("both models failed, and that is over", partial.OVER), *approve))
    means = (
        "Requests that ought to be mirrored have no copies: the shadow shows nothing, and moves nothing. Nobody has met the canary, and "
        "no client notices. Is the canary reached at all, is Envoy's configuration the one that was rendered from this Spec, and is the "
        "runtime key of the shadow at its default?"
    )
    yield "MirrorSilent", Advice(means, (status, doctor), (("it is not worth while", instant.WITH),))
    means = (
        "It is done: all new requests go to stable, and nothing tries again by itself. Nobody needs to hurry. Keep the lists, tell "
        "people, write down what happened."
    )
    then = (("who met it", concerned.CONCERNED), ("it is mended", instant.AGAIN))
    posts = tuple(place.extproc("postmortem", name) for name in spec.rollouts)
    yield "CanaryRolledBack", Advice(means, (*journals, *posts), then)


def _phase(spec: Spec, place: Place) -> Iterator[tuple[str, Advice]]:
    sla, status = spec.application.sla, place.extproc("status")
    back = (("the status still says progressing, and users complain", instant.WITH), *_partly(spec))
    wait = (*back, ("you want to look first", partial.PAUSE))
    means = (
        f"The canary fails so often that with everybody on it the budget of {percent(1 - sla.uptime)} would not last. Its gates and "
        "ceilings weigh the same requests and roll back by themselves when the evidence is there; you may be faster."
    )
    yield "CanaryErrorBudgetBurn", Advice(means, (status,), wait)
    means = (
        f"The canary's first tokens come later than the SLA's {sla.ttft:g} s, for more than one request in twenty. Is its pool too small?"
    )
    smaller = (
        (("its pool is too small for the share", partial.PHASE),) if any(len(one.phases) > 1 for one in spec.rollouts.values()) else ()
    )
    yield "CanaryTimeToFirstTokenAboveSla", Advice(means, (status,), (*smaller, *wait))
    means = (
        "Over the window the canary failed more often than control, by more than the gate's margin. The gate asks whether that can be "
        "chance."
    )
    yield "CanaryErrorsWorseThanControl", Advice(means, (status,), wait)
    means = (
        "The canary takes longer than control, by more than the gate's margin. A request that is open after "
        f"{duration(sla.latency_p99)} has "
        "failed, so slowness turns into errors."
    )
    yield "CanaryLatencyWorseThanControl", Advice(means, (status,), (*smaller, *wait))
    means = "The canary's first token comes later than control's, by more than the gate's margin: queues, or a prompt that grew."
    yield "CanaryTimeToFirstTokenWorseThanControl", Advice(means, (status,), (*smaller, *wait))


def _said(spec: Spec, place: Place) -> Iterator[tuple[str, Advice]]:
    status = place.extproc("status")
    wait = (*_partly(spec), ("you want to look first", partial.PAUSE), ("you have seen enough", instant.WITH))
    drained = any(one.conversation is not None for one in spec.rollouts.values())
    gently = (("it works, and is not good enough or too dear", partial.DRAIN), *wait) if drained else wait
    means = (
        "A request of the canary costs more than one of control, by more than the gate's margin, at the Spec's prices: more tokens, or "
        "fewer from a cache."
    )
    yield "CanaryCostWorseThanControl", Advice(means, (status,), gently)
    worst = tuple(place.extproc("samples", one.name, "--worst") for one in spec.rollouts.values() if one.judging is not None)
    means = (
        "The judge gives the canary's answers less than control's, by more than the gate's margin. Read the worst of both arms yourself."
    )
    yield "CanaryJudgeScoreWorseThanControl", Advice(means, (status, *worst), gently)
    means = (
        "Those who say something like the canary's answers less than control's, by more than the gate's margin. Few say anything: read "
        "what they say."
    )
    yield "CanaryThumbsWorseThanControl", Advice(means, (status,), gently)
    means = (
        "The judge is away, slow, over its budget, or talks nonsense: its gates have no data, which holds the phase and moves nobody. "
        "Look at its address, its key and its budget."
    )
    yield "JudgeSilent", Advice(means, (status,), (("the phase shall wait for it", partial.PAUSE),))
