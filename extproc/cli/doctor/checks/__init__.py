"""The checks, one topic a file, in the order in which they are told: each is a function from what was seen to Findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from extproc.cli.doctor.checks.clock import clock
from extproc.cli.doctor.checks.configuration import configuration
from extproc.cli.doctor.checks.controller import controller
from extproc.cli.doctor.checks.envoy import envoy
from extproc.cli.doctor.checks.outcomes import outcomes
from extproc.cli.doctor.checks.rollouts import rollouts
from extproc.cli.doctor.checks.sockets import sockets
from extproc.cli.doctor.checks.spec import spec
from extproc.cli.doctor.checks.store import store
from extproc.cli.doctor.checks.watch import watch
from extproc.cli.doctor.findings import Finding
from extproc.cli.doctor.seen import Seen

Check = Callable[[Seen], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (spec, envoy, configuration, sockets, controller, watch, outcomes, clock, store, rollouts)


def examine(seen: Seen) -> list[Finding]:
    """Everything that can be said."""
    return [finding for check in CHECKS for finding in check(seen)]
