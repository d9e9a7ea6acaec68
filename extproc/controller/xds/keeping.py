"""Keeps what is served over xDS the same as what the controller knows: its Spec, the off switch, endpoints that are ready."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from extproc import contract
from extproc.controller.loop import Loop
from extproc.controller.readiness import Readiness
from extproc.controller.xds.server import XdsServer
from extproc.render.discovered import Part
from extproc.transport import PRIVATE, Address, Security

LOOK_EVERY: Final = 0.1
"""Seconds between two looks: the off switch is flipped by people who wait."""


class XdsKeeper:
    """Of one controller."""

    def __init__(self, loop: Loop, readiness: Readiness, address: Address, security: Security = PRIVATE) -> None:
        self._loop = loop
        self._readiness = readiness
        self._address = address
        self.server = XdsServer(address, loop.spec, security)
        self._registry = CollectorRegistry()
        node = ["node"]
        self._connected = Gauge(contract.METRIC_XDS_CONNECTED, "1 while it has a stream.", node, registry=self._registry)
        self._refused = Gauge(contract.METRIC_XDS_REFUSED, "1 while it refuses a part.", ["node", "part"], registry=self._registry)
        self._refusals = Counter(contract.METRIC_XDS_REFUSALS, "Answers that were refused.", ["part"], registry=self._registry)
        self._updates = Counter(contract.METRIC_XDS_UPDATES, "Answers that were sent.", ["part"], registry=self._registry)
        self._shown = {counter: dict.fromkeys(Part, 0) for counter in (self._refusals, self._updates)}

    async def start(self) -> None:
        """Listen; raises SettingsError where that is not possible."""
        self._serve()
        await self.server.start()

    async def keep(self) -> None:
        """Forever."""
        while True:
            self._serve()
            await asyncio.sleep(LOOK_EVERY)

    def _serve(self) -> None:
        self.server.serve(self._loop.spec, self._loop.state.off is not None, self._readiness.ready)

    async def stop(self) -> None:
        """End all streams; Envoys keep what they have."""
        await self.server.stop()

    def document(self) -> dict[str, Any]:
        """For `status`."""
        problem = self.server.problem
        return {
            "listen": str(self._address),
            "problem": asdict(problem) if problem is not None else None,
            "nodes": [node.document(time.time()) for node in self.server.fleet.nodes.values()],
        }

    def exposition(self) -> bytes:
        """Prometheus text."""
        for gauge in (self._connected, self._refused):
            gauge.clear()
        for node in self.server.fleet.nodes.values():
            self._connected.labels(node.id).set(node.stream is not None)
            for part in Part:
                self._refused.labels(node.id, part.value).set(node.refusal is not None and node.refusal.part is part)
        for counter, counts in ((self._refusals, self.server.refusals), (self._updates, self.server.sent)):
            for part in Part:
                counter.labels(part.value).inc(counts[part] - self._shown[counter][part])
                self._shown[counter][part] = counts[part]
        return generate_latest(self._registry)
