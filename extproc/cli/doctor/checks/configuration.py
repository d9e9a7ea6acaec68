"""Configuration drift: what the Spec would render against what Envoy runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from extproc import contract
from extproc.cli.doctor.compare import differences, dumped
from extproc.cli.doctor.findings import Finding, Topic
from extproc.cli.doctor.seen import EnvoySeen, Seen
from extproc.errors import ExtprocError
from extproc.render import EnvoySettings

TOPIC = Topic("Configuration")
MOST: Final = 12
"""Differences that are listed."""
WHY: Final = {
    "failure_mode_allow": "without it a dead router means errors for clients",
    "message_timeout": "a request waits this long for a silent router",
    "route_cache_action": "without CLEAR the decision does not change the route",
    "update_merge_window": "without 0s a second dead worker fails open for a second",
    "healthy_panic_threshold": "without 0 Envoy prefers dead workers when most are dead",
    "early_header_mutation_extensions": "a client could choose its model, or say who it is",
    "access_log": "without outcomes nothing is decided",
    "runtime_fraction": "the switches of Envoy's own rollback",
}
"""What hangs on a part of the configuration."""


def configuration(seen: Seen) -> Iterator[Finding]:
    """path: expected -> seen, for our parts."""
    there = seen.envoy
    if not isinstance(there, EnvoySeen):
        yield TOPIC.unseen("drift.no-envoy", "not compared: Envoy does not answer", "see Envoy above")
        return
    if seen.spec is None or seen.spec.spec is None:
        yield TOPIC.unseen("drift.no-spec", "not compared: there is no valid Spec", "see Spec above")
        return
    spec = seen.spec.spec
    config = dumped(there.config, tuple(spec.rollouts))
    if contract.XDS_CLUSTER in config.clusters:
        yield TOPIC.note("drift.xds", "not compared: this Envoy is told over xDS; `extproc status` says what it has, and what it refused")
        return
    asked = seen.asked
    endpoints = contract.endpoints(asked.listen, asked.workers)
    settings = EnvoySettings(endpoints, asked.collector, config.profile, asked.ca_bundle, sampler=asked.sampler)
    try:
        found = differences(spec, settings, config)
    except ExtprocError as error:
        yield TOPIC.unseen("drift.not-rendered", f"not compared: {error.problems[0].message}", error.problems[0].hint or "see Spec above")
        return
    for one in found[:MOST]:
        why = next((f"{text}: " for part, text in WHY.items() if part in one.path), "")
        yield TOPIC.wrong("drift.different", str(one), f"{why}render Envoy's configuration again, and merge this part")
    if len(found) > MOST:
        yield TOPIC.wrong("drift.more", f"{len(found) - MOST} more differences", "render Envoy's configuration again; --json lists no more")
    if not found:
        yield TOPIC.well("drift.none", f"Envoy runs what this Spec renders (profile {config.profile.value})")
        if config.digest not in ("", spec.digest):
            yield TOPIC.note("drift.digest", f"rendered from Spec {config.digest}; nothing that Envoy needs has changed since")
