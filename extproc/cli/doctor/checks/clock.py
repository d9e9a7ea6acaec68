"""Clocks: ours, the controller's, Envoy's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from extproc.cli.doctor.findings import Finding, Topic
from extproc.cli.doctor.seen import ControllerSeen, EnvoySeen, Seen

TOPIC = Topic("Clock")
FAR: Final = 2.0
"""Seconds: outcomes are read at fixed ages, the first of them 1 s."""


def clock(seen: Seen) -> Iterator[Finding]:
    """Outcomes carry Envoy's clock, and are read by the controller's."""
    skews = {}
    if isinstance(seen.controller, ControllerSeen):
        skews["controller"] = seen.controller.skew
        for router in seen.controller.status.get("routers", ()):
            if router.get("skew") is not None:
                skews[router.get("name", "router")] = router["skew"]
    if isinstance(seen.envoy, EnvoySeen) and seen.envoy.skew is not None:
        skews["Envoy"] = seen.envoy.skew
    for name, skew in skews.items():
        said = f"{name}: {skew:+.1f} s against this machine"
        if abs(skew) > FAR:
            yield TOPIC.wrong(
                "clock.skew", said, "ages of requests are measured wrongly: set the clocks by NTP (chrony, systemd-timesyncd)"
            )
        else:
            yield TOPIC.well("clock.near", said)
    if not skews:
        yield TOPIC.unseen("clock.nobody", "nobody's clock was seen", "see Envoy and Controller above")
