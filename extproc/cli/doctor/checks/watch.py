"""The watch path: from a committed State to every worker, and back (heartbeat, Presence)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from extproc.cli.doctor.findings import Finding, Mark, Topic
from extproc.cli.doctor.seen import ControllerSeen, Failed, RouterSeen, Seen

TOPIC = Topic("Watch path")
OLD: Final = 5.0
"""Seconds since a worker has read the store: it looks fifty times a second."""


def watch(seen: Seen) -> Iterator[Finding]:
    """Every worker serves the generation that the controller has committed."""
    router = seen.router
    if isinstance(router, Failed):
        hangs = "it hangs: is the supervisor stopped?" if router.silent else "is the router running? Another port: --metrics-port"
        do = f"{hangs} (A router on another machine: run doctor there.)"
        yield TOPIC.wrong("watch.no-router", f"{router.address}: {router.why}", do)
    else:
        yield from _workers(router)
        if isinstance(seen.controller, ControllerSeen):
            yield from _generations(router, seen.controller)
    if isinstance(seen.controller, ControllerSeen):
        yield from _presence(seen.controller)


def _workers(router: RouterSeen) -> Iterator[Finding]:
    restarts = sum(router.restarts.values())
    said = f"{router.serving} of {router.serving + router.silent} workers answer their supervisor; {restarts} restarts since it started"
    if router.silent:
        yield TOPIC.wrong("watch.silent", said, "look at the supervisor's log: it says why a worker was restarted, and what to look at")
    else:
        yield TOPIC.well("watch.workers", said)
    if router.spec_problem:
        yield TOPIC.wrong(
            "watch.spec", "the router does not use its Spec's file", f"ask {router.address.replace('metrics', 'healthz')} why"
        )


def _generations(router: RouterSeen, controller: ControllerSeen) -> Iterator[Finding]:
    wanted = controller.status["generation"]
    behind = {worker: found for worker, found in sorted(router.generations.items()) if found != wanted}
    if behind:
        said = ", ".join(f"worker {worker} has {found}" for worker, found in behind.items())
        do = "do router and controller have the same --store? May the router read it? Its log says what it could not use"
        yield TOPIC.wrong("watch.behind", f"the controller has generation {wanted}; {said}", do)
    elif router.generations:
        yield TOPIC.well("watch.generation", f"every worker serves generation {wanted}")
    old = {worker: age for worker, age in sorted(router.ages.items()) if age > OLD}
    for worker, age in old.items():
        yield TOPIC.wrong("watch.age", f"worker {worker} has not read the store for {age:.0f} s", "may it still read the file? See Store")


def _presence(controller: ControllerSeen) -> Iterator[Finding]:
    """What the controller has been told by routers, on this machine or others."""
    status = controller.status
    for name, why in status["watch"]["blind"].items():
        do = "outcomes are missing, canary traffic goes to stable: look at Access log"
        yield TOPIC.wrong("watch.blind", f"the controller is blind for {name}: {why}", do)
    if not status["routers"]:
        do = "decisions are not counted, so nobody knows what the access log loses: do routers and controller have the same --store?"
        yield TOPIC.wrong("watch.no-presence", "no router tells the controller of itself", do)
    lease = status["watch"]["lease"]
    before = {router["router"]: _router(router, controller.earlier["generation"], lease) for router in controller.earlier["routers"]}
    for router in status["routers"]:
        found, earlier = _router(router, status["generation"], lease), before.get(router["router"])
        if found.mark is not Mark.WRONG or (earlier is not None and earlier.id == found.id):
            yield found


def _router(router: Mapping[str, Any], generation: int, lease: float) -> Finding:
    """What is wrong with it now. It may be on its way: who changed State a moment ago has not been heard of by everybody."""
    name, beat = router["router"], router["heartbeat_age"]
    if router["silent"] is not None:
        do = "is it running? Its decisions are not counted: run doctor on its machine"
        return TOPIC.wrong("watch.silent-router", f"{name} has told nothing for {router['silent']:.0f} s", do)
    if router["withdrawn"]:
        do = "canary traffic goes to stable, because nobody can watch it: see Controller, Store and Access log; it comes back by itself"
        return TOPIC.wrong("watch.withdrawn", f"{name} has withdrawn {', '.join(router['withdrawn'])}", do)
    if beat is not None and beat > lease / 2:
        do = "the evaluate loop or the store is stuck; after one lease canary traffic goes to stable. See Controller and Store"
        return TOPIC.wrong("watch.heartbeat", f"{name} saw the last heartbeat {beat:.1f} s ago, the lease is {lease:g} s", do)
    if set(router["generations"]) - {generation}:
        said = f"{name} serves generation {' and '.join(map(str, router['generations']))}; State is at {generation}"
        return TOPIC.wrong("watch.router-behind", said, "run doctor on its machine")
    return TOPIC.well(
        "watch.router", f"{name}: {router['serving']} of {router['workers']} workers, {router['decisions_per_second']:.0f} decisions/s"
    )
