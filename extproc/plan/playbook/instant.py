"""Everybody back to stable, now: by extproc, by Envoy alone where extproc does not answer, and with no decision asked for at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from extproc import contract
from extproc.domain import Infrastructure, Rollout, Spec
from extproc.plan.playbook.markdown import Command, command, link
from extproc.plan.playbook.place import Place, chooses_models

WITH: Final = "Instant, with extproc"
WITHOUT: Final = "Instant, without extproc"
OFF: Final = "Last resort: nobody is asked"
AGAIN: Final = "Another attempt"
REVISION: Final = "The revision before"
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
    return Command(place.extproc("rollback", rollout.name, *words, "--why", REASON), f"{rollout.name} is rolled back (generation N)")


def instant(spec: Spec, place: Place) -> Iterator[str]:
    """The sections."""
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
        "Where `extproc status` does not answer, or an act is refused because the controller is silent. Without a heartbeat routers go "
        f"back to stable by themselves after {spec.application.watch_lease:g} s (`watch_lease`); where no router answers either, Envoy "
        "serves stable at once. The switch does not wait for that. Not so after completion: then the canary stays, and the switch is "
        "the only way."
    )
    yield ""
    for rollout in spec.rollouts.values():
        yield from _without(spec, rollout, place) if chooses_models(rollout) else _variant(spec, rollout)
    if place.infrastructure is Infrastructure.CLOUD_RUN:
        yield from _revision(place)
    yield from _off(place)


def _off(place: Place) -> Iterator[str]:
    yield from (f"## {OFF}", "")
    yield (
        "All rollouts at once, completed ones too, where the decisions themselves are wrong. Each Envoy that is told over xDS asks no "
        "router any more, and every request is served as one without a decision. The command says how many Envoys were told. One with "
        "a file of its own cannot be: for it routers send canary traffic to stable, as long as they answer. It outlives restarts, and an "
        "alert reminds you."
    )
    yield ""
    yield from command(Command(place.extproc("processor", "off", "--why", "decisions are wrong, see the incident")))
    yield from ("When they are right again:", "")
    yield from command(Command(place.extproc("processor", "on", "--why", "mended"), "the processor is on (generation N)"))


def _with(spec: Spec, rollout: Rollout, place: Place) -> Iterator[str]:
    yield from (f"### {take_back(rollout)}", "")
    yield from (f"Everybody meets `{rollout.stable}` instead of `{rollout.canary}`.", "")
    yield from command(rollback(rollout, place))
    yield from _verify(spec, rollout, place)
    yield from (f"Its last line in the Journal is yours. Once it is mended: {link(AGAIN)}.", "")
    yield from command(Command(place.extproc("journal", rollout.name, "--limit", "1")))


def _verify(spec: Spec, rollout: Rollout, place: Place) -> Iterator[str]:
    """That nobody meets the canary any more."""
    if not chooses_models(rollout):
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
    canary, completed = (key.format(rollout=rollout.name) for key in (contract.RUNTIME_CANARY, contract.RUNTIME_COMPLETED))
    yield from (
        f"Decided requests take the route of `{rollout.stable}`; so do undecided ones after completion. On each Envoy, which says OK to "
        "each:",
        "",
    )
    yield from command(place.switch(f"{canary}=0", f"{completed}=0"))
    if rollout.shadow is not None:
        yield from ("In its shadow nobody gets the canary's answers; to stop the copies of requests, too:", "")
        yield from command(place.switch(f"{contract.RUNTIME_SHADOW.format(rollout=rollout.name)}=0"))
    yield from _verify(spec, rollout, place)
    yield from (f"### {hand_over(rollout)}", "")
    yield (
        "What Envoy was told this way is gone when it restarts. As soon as extproc answers: tell it, and only then undo the switch. "
        "Where it answers with `act.refused`, it has gone back already."
    )
    yield ""
    yield from command(rollback(rollout, place), place.switch(f"{canary}=100"))


def _revision(place: Place) -> Iterator[str]:
    """Where no instance lets anybody in."""
    revisions = f"gcloud run revisions list --service={place.application} --sort-by=~metadata.creationTimestamp --limit=2"
    yield from (f"### {REVISION}", "")
    yield (
        "Where the instance lets nobody in: all traffic goes to the revision before the present one, which takes some seconds. It is "
        "the right one if nothing but this release has been deployed since."
    )
    yield ""
    before = f"$({revisions} --format='value(metadata.name)' | tail -n 1)"
    yield from command(Command(f'gcloud run services update-traffic {place.application} --to-revisions="{before}=100"'))


def _variant(spec: Spec, rollout: Rollout) -> Iterator[str]:
    header = f"{contract.VARIANT_PREFIX}{rollout.layer}"
    yield from (f"### {switch_off(rollout)}", "")
    yield (
        f"`{rollout.name}` chooses no model but a variant, which your application reads in the header `{header}`: Envoy has no switch "
        f"for it. Stop the controller: without its heartbeat routers answer with `{rollout.stable}` after "
        f"{spec.application.watch_lease:g} s. A request without a decision has no such header at all, and is meant to get "
        f"`{rollout.stable}`, too."
    )
    yield ""
