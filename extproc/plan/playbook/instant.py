"""Everybody back to stable, now: by extproc, and by Envoy alone where extproc does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from extproc import contract
from extproc.domain import Rollout, Spec
from extproc.plan.playbook.markdown import Command, command, link
from extproc.plan.playbook.place import Place, chooses_models

WITH: Final = "Instant, with extproc"
WITHOUT: Final = "Instant, without extproc"
AGAIN: Final = "Another attempt"
REASON: Final = "taken back by hand, see the incident"


def take_back(rollout: Rollout) -> str:
    """Heading of the section that takes one rollout back."""
    return f"Take {rollout.name} back"


def switch_off(rollout: Rollout) -> str:
    """Heading of the section that switches one off in Envoy."""
    return f"Switch {rollout.name} off in Envoy"


def hand_over(rollout: Rollout) -> str:
    """Heading of the section after that."""
    return f"Hand {rollout.name} back to extproc"


def rollback(rollout: Rollout, place: Place, *words: str) -> Command:
    """Take a rollout back, all of it."""
    return Command(
        place.extproc("rollback", rollout.name, *words, "--why", REASON), f"{rollout.name} is rolled back (generation N)"
    )


def instant(spec: Spec, place: Place) -> Iterator[str]:
    """Both sections."""
    yield from (f"## {WITH}", "")
    yield (
        "Every router sends every new request to stable within 100 ms; 30 s is what is promised, on every router. A request that is under "
        "way ends where it began, open conversations move with their next request. Nothing tries again by itself. `N` is the next "
        "generation. The reason goes into the Journal with your name: say yours if you have the seconds."
    )
    yield ""
    for rollout in spec.rollouts.values():
        yield from _with(spec, rollout, place)
    yield from (f"## {WITHOUT}", "")
    yield (
        "Where `extproc status` does not answer, or an act is refused because the controller is silent. Without a heartbeat routers go back "
        f"to stable by themselves after {spec.application.watch_lease:g} s (`watch_lease`); where no router answers either, Envoy serves "
        "stable at once. The switch does not wait for that. Not so after completion: then the canary stays, and the switch is the only way."
    )
    yield ""
    for rollout in spec.rollouts.values():
        yield from _without(spec, rollout, place) if chooses_models(rollout) else _variant(rollout, place)


def _with(spec: Spec, rollout: Rollout, place: Place) -> Iterator[str]:
    yield from (f"### {take_back(rollout)}", "")
    yield from (f"Everybody meets `{rollout.stable}` instead of `{rollout.canary}`.", "")
    yield from command(rollback(rollout, place))
    yield from _verify(spec, rollout, place)
    yield from (f"Its last line in the Journal is yours. Once it is mended: {link(AGAIN)}.", "")
    yield from command(Command(place.extproc("journal", rollout.name, "--limit", "1")))


def _verify(spec: Spec, rollout: Rollout, place: Place) -> Iterator[str]:
    """That nobody meets the canary any more."""
    if not chooses_models(rollout) or not place.has_admin:
        yield from ("Verify: the share that is shown is 0 %, and the status `rolled back`.", "")
        yield from command(Command(place.extproc("status")))
        return
    others = _others(spec, rollout)
    shared = f" (Requests of {', '.join(others)} count here, too: those go on.)" if others else ""
    yield from (f"Verify: Envoy's count of requests to `{rollout.canary}` is the same number twice.{shared}", "")
    yield from command(place.counted(spec.models[rollout.canary]))


def _others(spec: Spec, rollout: Rollout) -> list[str]:
    """Who else sends requests to the canary's model."""
    there = [
        f"`{one.name}`"
        for one in spec.rollouts.values()
        if one.name != rollout.name and chooses_models(one) and rollout.canary in (one.stable, one.canary)
    ]
    return [*there, "what matches no rollout"] if spec.listener.default_model == rollout.canary else there


def _without(spec: Spec, rollout: Rollout, place: Place) -> Iterator[str]:
    yield from (f"### {switch_off(rollout)}", "")
    if not place.has_admin:
        yield from _revision(rollout, place)
        return
    canary, completed = (key.format(rollout=rollout.name) for key in (contract.RUNTIME_CANARY, contract.RUNTIME_COMPLETED))
    yield from (f"Decided requests take the route of `{rollout.stable}`; so do undecided ones after completion. On each Envoy, which says OK to each:", "")
    yield from command(place.switch(f"{canary}=0", f"{completed}=0"))
    yield from _verify(spec, rollout, place)
    yield from (f"### {hand_over(rollout)}", "")
    yield (
        "What Envoy was told this way is gone when it restarts. As soon as extproc answers: tell it, and only then undo the switch. Where it "
        "answers with `act.refused`, it has gone back already."
    )
    yield ""
    yield from command(rollback(rollout, place), place.switch(f"{canary}=100"))


def _revision(rollout: Rollout, place: Place) -> Iterator[str]:
    yield (
        "Nobody can enter an instance here, so Envoy's switch is out of reach: send all traffic to the last revision that was good before "
        "the release. It takes some seconds."
    )
    yield ""
    revisions = f"gcloud run revisions list --service {place.namespace}"
    back = f'gcloud run services update-traffic {place.namespace} --to-revisions "$(gcloud run services describe {place.namespace} --format'
    yield from command(Command(revisions), Command(f"{back} 'value(status.traffic[1].revisionName)')=100\""))
    yield from (f"`{rollout.name}` starts anew with the next deployment.", "")


def _variant(rollout: Rollout, place: Place) -> Iterator[str]:
    header = f"{contract.VARIANT_PREFIX}{rollout.layer}"
    yield from (f"### {switch_off(rollout)}", "")
    yield (
        f"`{rollout.name}` chooses no model but a variant, which your application reads in the header `{header}`: Envoy has no switch for it. "
        f"A request without a decision has no such header, and the application serves `{rollout.stable}`: stop the routers, all of them. "
        f"That takes every other rollout back to its stable model, too."
    )
    yield ""
    if place.has_admin and place.namespace and place.infrastructure.value == "kubernetes":
        yield from command(Command(f"kubectl --namespace {place.namespace} scale deploy/extproc-router --replicas 0"))
