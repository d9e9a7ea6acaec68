"""The access log: does every request's end arrive?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from extproc import contract
from extproc.cli.doctor.checks.envoy import requests
from extproc.cli.doctor.findings import Finding, Topic
from extproc.cli.doctor.seen import ControllerSeen, EnvoySeen, Failed, Seen

TOPIC = Topic("Access log")
ENOUGH: Final = 20
"""Requests in the sample from which their number is compared."""
SHARE: Final = 0.5
"""Outcomes per request below which they do not arrive. Requests that are still answered at the end of the sample have none yet."""
NAMES: Final = (contract.METRIC_OUTCOMES, contract.METRIC_UNDECIDED)


def outcomes(seen: Seen) -> Iterator[Finding]:
    """Envoys that are connected, messages that were understood, outcomes against requests."""
    there = seen.controller
    if isinstance(there, Failed):
        yield TOPIC.unseen("outcomes.no-controller", "not looked at: the controller does not answer", "see Controller above")
        return
    collector = there.status["collector"]
    if not collector["streams"]:
        do = (
            "Envoy connects with its first request. Has it had one? Does its access log lead to --collector (see Configuration),"
            " and may Envoy's user open that socket?"
        )
        # Without a request there is nothing to send: only an Envoy that was asked for something and says nothing is wrong.
        silent = not isinstance(seen.envoy, EnvoySeen) or requests(seen.envoy.after) > 0
        make = TOPIC.wrong if silent else TOPIC.note
        yield make("outcomes.no-stream", "no Envoy is connected to the collector", do)
    else:
        yield TOPIC.well("outcomes.streams", f"{collector['streams']} access-log streams of Envoy are open")
    if collector["bad_messages"]:
        said = f"{collector['bad_messages']:,} messages could not be understood"
        yield TOPIC.wrong("outcomes.bad", said, "is this Envoy newer than extproc knows? The controller's log names the kind of error")
    yield from _arriving(seen, there)
    if collector["unknown"]:
        said = f"{collector['unknown']:,} outcomes belong to no rollout of the Spec"
        yield TOPIC.note(
            "outcomes.unknown", said, "requests decided before the Spec changed; if it grows, another application's Envoy logs here"
        )


def _arriving(seen: Seen, there: ControllerSeen) -> Iterator[Finding]:
    arrived = sum(value - there.before.get(name, 0.0) for name, value in there.after.items() if name in NAMES)
    age = there.status["collector"].get("age")
    last = f"; the last one {age:.1f} s ago" if age is not None else ""
    if not isinstance(seen.envoy, EnvoySeen):
        yield TOPIC.note("outcomes.arriving", f"{arrived:,.0f} outcomes within {seen.seconds:.0f} s{last}")
        return
    asked = requests(seen.envoy.after) - requests(seen.envoy.before)
    said = f"{arrived:,.0f} outcomes for {asked:,} requests within {seen.seconds:.0f} s{last}"
    if asked >= ENOUGH and arrived < SHARE * asked:
        do = "Envoy loses entries silently: look at Configuration, at the collector under Sockets, and whether another collector gets them"
        yield TOPIC.wrong("outcomes.missing", said, do)
    elif asked < ENOUGH:
        yield TOPIC.note("outcomes.arriving", f"{said}: too few to compare")
    else:
        yield TOPIC.well("outcomes.arriving", said)
