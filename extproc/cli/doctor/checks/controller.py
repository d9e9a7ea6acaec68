"""The controller: does it answer, and does it evaluate?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from extproc import contract
from extproc.cli.doctor.findings import Finding, Topic
from extproc.cli.doctor.seen import Failed, Seen

TOPIC = Topic("Controller")
LATE: Final = 1.0
"""Seconds of lag of the evaluate loop that are too many."""


def controller(seen: Seen) -> Iterator[Finding]:
    """Reachable, and in time."""
    there = seen.controller
    if isinstance(there, Failed):
        yield _failed(there)
        return
    status = there.status
    yield TOPIC.well("controller.answers", f"{there.address} answers for {status['application']}, generation {status['generation']}")
    if status.get("stale"):
        do = "its process is stopped or hangs: `kill -CONT`, else kill it (serve restarts it; nothing decided is lost)"
        yield TOPIC.wrong("controller.frozen", "the evaluate loop does not answer", do)
    lag = there.after.get(contract.METRIC_LOOP_LAG)
    if lag is not None and lag > LATE:
        yield TOPIC.wrong("controller.lag", f"the evaluate loop is {lag:.1f} s late", "too few CPUs, or a slow disk under the store?")


def _failed(there: Failed) -> Finding:
    if there.status == 401:
        do = f"give the token's file with --token-file, or the token in ${contract.TOKEN_ENVIRONMENT}; it lies beside the store"
        return TOPIC.wrong("controller.token", f"{there.address}: {there.why}", do)
    if there.silent:
        do = "its process is stopped or hangs: `kill -CONT`, else kill it (serve restarts it; nothing decided is lost)"
        return TOPIC.wrong("controller.frozen", f"{there.address}: {there.why}", do)
    do = "start `extproc serve` or `extproc controller`; until then no rollout moves. Another address: --api"
    return TOPIC.wrong("controller.unreachable", f"{there.address}: {there.why}", do)
