"""*No healthy endpoint, no canary.* Each canary's replicas are asked for their health, or counted in their file of EndpointSlices.

A rollout whose canary has none gets no canary traffic: the heartbeat names it, as it names one that nobody can watch, and routers send
its traffic to stable; its decision holds and says so. It resumes by itself with the first healthy endpoint.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from extproc import contract
from extproc.controller.loop import Loop
from extproc.controller.slices import Places, SliceFiles
from extproc.domain import Backend, Model, Probe, Rollout, Tls
from extproc.runtime.follow import stamp

LOOK_EVERY: Final = 0.2
"""Seconds between two looks at what is due."""
MISSES: Final = 2
"""Probes in a row without a good answer after which an endpoint is not well; one is enough to be well again."""
OFF: Final = "the processor is switched off"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Replica:
    """One endpoint as its probes have found it."""

    due: float = 0.0
    """Monotonic seconds."""
    misses: int = 0
    asking: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def well(self) -> bool:
        """Until it was asked it counts as well: a controller that has just begun withdraws nothing."""
        return self.misses < MISSES


Where = tuple[str, str, int]
"""(cluster, host, port)."""


class Readiness:
    """Of the canaries of one controller; also what tells the loop that the processor is off."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.files = SliceFiles()
        self.ready: Mapping[str, Places] = {}
        """Cluster -> endpoints that are ready, of clusters whose endpoints are in a file."""
        self._replicas: dict[Where, Replica] = {}
        self._clients: dict[tuple[object, ...], httpx.AsyncClient] = {}
        self._registry = CollectorRegistry()
        self._unready = Gauge(contract.METRIC_UNREADY, "1 without a healthy endpoint.", ["rollout"], registry=self._registry)
        self._off = Gauge(contract.METRIC_PROCESSOR_OFF, "1 while it is switched off.", registry=self._registry)

    def exposition(self) -> bytes:
        """Prometheus text."""
        self._unready.clear()
        for name in self._loop.desks:
            self._unready.labels(name).set(name in self._loop.away and self._loop.away[name] != OFF)
        self._off.set(self._loop.state.off is not None)
        return generate_latest(self._registry)

    def document(self) -> dict[str, Any]:
        """For `status`: rollouts whose canary gets no traffic, files that are not in force."""
        problems = {cluster: {"path": one.path, "message": one.message} for cluster, one in self.files.problems.items()}
        return {"away": dict(self._loop.away), "slices": problems}

    async def keep(self) -> None:
        """Forever."""
        try:
            while True:
                await self.look(time.monotonic())
                await asyncio.sleep(LOOK_EVERY)
        finally:
            for replica in self._replicas.values():
                _stop(replica)
            for client in self._clients.values():
                await client.aclose()

    async def look(self, now: float) -> None:
        """Read what has changed, ask those that are due, tell the loop."""
        told = dict(self.files.problems)
        sliced = any(backend.slices is not None for model in self._loop.spec.models.values() for backend in model.backends)
        # A file on a network may keep us waiting.
        self.ready = await asyncio.to_thread(self.files.look, self._loop.spec) if sliced else {}
        for cluster, problem in self.files.problems.items():
            if told.get(cluster) != problem:
                log.error("endpoints of %s: %s", cluster, problem, extra={"problem": problem.id})
        self._ask_the_due(now)
        away = dict(self._away())
        for name in away.keys() - self._loop.away.keys():
            log.error("%s: %s; its canary traffic goes to stable", name, away[name], extra={"rollout": name})
        for name in self._loop.away.keys() - away.keys():
            log.info("%s: its canary can be asked again", name, extra={"rollout": name})
        self._loop.away = away

    def _away(self) -> Iterator[tuple[str, str]]:
        for name, rollout, canary in self._canaries():
            if self._loop.state.rollouts[name].status.terminal:
                continue
            if self._loop.state.off is not None:
                yield name, OFF
                continue
            places = [(backend, place) for backend in canary.backends for place in self._places(backend)]
            watched = canary.probe is not None or any(backend.slices is not None for backend in canary.backends)
            if not watched:
                continue
            well = sum(self._is_well(backend, place) for backend, place in places)
            if not well:
                yield name, f"canary {rollout.canary} has no healthy endpoint (of {len(places)})"

    def _is_well(self, backend: Backend, place: tuple[str, int]) -> bool:
        replica = self._replicas.get((backend.cluster, *place))
        return replica is None or replica.well

    def _canaries(self) -> Iterator[tuple[str, Rollout, Model]]:
        for name, rollout in self._loop.spec.rollouts.items():
            if rollout.layer == contract.MODEL_LAYER:
                yield name, rollout, self._loop.spec.models[rollout.canary]

    def _places(self, backend: Backend) -> Places:
        return (
            self.ready.get(backend.cluster, ()) if backend.slices is not None else tuple((one.host, one.port) for one in backend.endpoints)
        )

    def _ask_the_due(self, now: float) -> None:
        wanted: dict[Where, tuple[Probe, Backend]] = {
            (backend.cluster, *place): (canary.probe, backend)
            for _, _, canary in self._canaries()
            if canary.probe is not None
            for backend in canary.backends
            for place in self._places(backend)
        }
        for where in self._replicas.keys() - wanted.keys():
            _stop(self._replicas.pop(where))
        for where, (probe, backend) in wanted.items():
            replica = self._replicas.setdefault(where, Replica())
            if now >= replica.due and replica.asking is None:
                replica.due = now + probe.every
                replica.asking = asyncio.create_task(self._ask(where, probe, backend, replica))

    async def _ask(self, where: Where, probe: Probe, backend: Backend, replica: Replica) -> None:
        _, host, port = where
        tls = backend.slices.tls if backend.slices is not None else next((one.tls for one in backend.endpoints), None)
        try:
            well = await self._answers(host, port, probe, backend, tls)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ssl.SSLError, TimeoutError):
            well = False
        finally:
            replica.asking = None
        replica.misses = 0 if well else replica.misses + 1

    async def _answers(self, host: str, port: int, probe: Probe, backend: Backend, tls: Tls | None) -> bool:
        named = f"[{host}]" if ":" in host else host
        headers = {"host": backend.host_rewrite} if backend.host_rewrite else {}
        url = f"{'https' if tls is not None else 'http'}://{named}:{port}{probe.path}"
        extensions = {"sni_hostname": tls.sni} if tls is not None else {}
        async with asyncio.timeout(probe.timeout):
            answer = await self._client(tls).get(url, headers=headers, extensions=extensions, timeout=probe.timeout)
        return answer.status_code < 400

    def _client(self, tls: Tls | None) -> httpx.AsyncClient:
        """One for each file of authorities as it is now: reading a bundle takes 20 ms."""
        file = tls.ca_file if tls is not None else None
        key = (tls is not None, file, *(stamp(file) if file is not None else ()))
        if key not in self._clients:
            verify = ssl.create_default_context(cafile=file) if tls is not None else False
            # A connection for each probe: one that is kept would not see that nobody listens any more.
            self._clients[key] = httpx.AsyncClient(trust_env=False, verify=verify, limits=httpx.Limits(max_keepalive_connections=0))
        return self._clients[key]


def _stop(replica: Replica) -> None:
    if replica.asking is not None:
        replica.asking.cancel()
