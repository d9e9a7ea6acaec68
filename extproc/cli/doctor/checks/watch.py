"""The watch path: from a committed State to every worker, and back (heartbeat, Presence)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from extproc.cli.doctor.findings import Finding, Topic
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
    """The one place that reads `watch` ({age, lease, blind}) and `routers` ([{name, generation, age, skew}]) of the status document."""
    status = controller.status
    heartbeat = status.get("watch")
    if heartbeat is not None:
        age, lease = heartbeat.get("age"), heartbeat.get("lease", 15.0)
        if age is not None and age > lease / 2:
            do = "the evaluate loop or the store is stuck; after one lease canary traffic goes to stable. See Controller and Store"
            yield TOPIC.wrong("watch.heartbeat", f"the last heartbeat is {age:.1f} s old, the lease is {lease:g} s", do)
        elif age is not None:
            yield TOPIC.well("watch.heartbeat", f"the last heartbeat is {age:.1f} s old, the lease is {lease:g} s")
        for name in heartbeat.get("blind", ()):
            do = "outcomes are missing, canary traffic goes to stable: look at Access log"
            yield TOPIC.wrong("watch.blind", f"the controller is blind for {name}", do)
    for router in status.get("routers", ()):
        name, generation = router.get("name", "router"), router.get("generation")
        said = f"{name}: generation {generation}, last heard {router.get('age', 0.0):.1f} s ago"
        if generation is not None and generation != status["generation"]:
            yield TOPIC.wrong("watch.router-behind", f"{said}; State is at {status['generation']}", "run doctor on its machine")
        else:
            yield TOPIC.well("watch.router", said)
