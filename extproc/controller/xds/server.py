"""ADS over gRPC: one task reads what an Envoy says, another sends what its stream says is due."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final

import grpc
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.message import DecodeError

from extproc import contract
from extproc.controller.xds import messages
from extproc.controller.xds.fleet import Fleet, Node, Offer
from extproc.controller.xds.resources import resources
from extproc.controller.xds.stream import Stream
from extproc.domain import Spec
from extproc.errors import ExtprocError, Problem
from extproc.render import EnvoySettings, RenderError
from extproc.render.bootstrap import settings_told
from extproc.render.discovered import Addresses, Part, discovered
from extproc.transport import PRIVATE, Address, Security
from extproc.transport.grpcio import Listener

MOST_SETTINGS: Final = 64
"""Different settings of Envoys that are served; each is a configuration of its own that is kept."""
LONGEST_NAME: Final = 256
GRACE: Final = 0.2
"""Seconds that open streams have when we stop: they would never end by themselves."""
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 16 << 20),
    # An Envoy that has gone without a word is noticed.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
)

log = logging.getLogger(__name__)
Context = Any
"""grpc.aio.ServicerContext: generic for a checker, and not when it runs."""


class XdsServer:
    """Serves one Spec at a time, to every Envoy the configuration that its own settings make of it."""

    def __init__(self, address: Address, spec: Spec, security: Security = PRIVATE) -> None:
        self._address = address
        self._security = security
        self._spec = spec
        self._off = False
        self._ready: Addresses = {}
        self._offers: dict[EnvoySettings, Offer] = {}
        self._changed: dict[Node, asyncio.Event] = {}
        self._listener = Listener(
            {
                contract.XDS_METHOD: grpc.stream_stream_rpc_method_handler(partial(self._on_stream, delta=False)),
                contract.XDS_DELTA_METHOD: grpc.stream_stream_rpc_method_handler(partial(self._on_stream, delta=True)),
            },
            _OPTIONS,
        )
        self.fleet = Fleet()
        self.problem: Problem | None = None
        """Why no configuration can be made from the Spec in force; the last good one is served meanwhile."""
        self.sent: Counter[Part] = Counter(dict.fromkeys(Part, 0))
        self.refusals: Counter[Part] = Counter(dict.fromkeys(Part, 0))

    # ------------------------------------------------------------------------------------------------------------------- what
    def serve(self, spec: Spec, off: bool, ready: Addresses) -> None:
        """From now on this; Envoys that are connected are told at once."""
        if (spec.digest, off, ready) == (self._spec.digest, self._off, self._ready):
            return
        self._spec, self._off, self._ready, self.problem = spec, off, ready, None
        for settings, offer in self._offers.items():
            self._renew(offer, settings)
        for node in self._changed:
            self._aim(node)

    def _renew(self, offer: Offer, settings: EnvoySettings) -> None:
        """Make an offer's configurations again; the one before stays where the Spec's cannot be made."""
        if offer.good_spec is not None:
            offer.good = self._made(offer.good_spec, settings, offer.good or offer.new)
        spec = self._spec
        try:
            new = self._made(spec, settings, offer.new)
        except (RenderError, ValueError) as error:
            self._cannot(error)
            spec = offer.spec
            new = self._made(spec, settings, offer.new)
        if spec.digest != offer.spec.digest:
            offer.refused = None
        offer.spec, offer.new = spec, new

    def _made(self, spec: Spec, settings: EnvoySettings, before: Any) -> Any:
        return resources(discovered(spec, settings, self._off, self._ready), before)

    def _cannot(self, error: Exception) -> None:
        hint = "this is a defect of extproc: report it"
        self.problem = error.problems[0] if isinstance(error, ExtprocError) else Problem("xds.defect", "xds", str(error), hint)
        log.error("no configuration for Envoy can be made, the last good one stays: %s", self.problem, extra={"problem": self.problem.id})

    def _offer(self, settings: EnvoySettings) -> Offer:
        """Raises RenderError where there cannot be one."""
        offer = self._offers.get(settings)
        if offer is None:
            if len(self._offers) >= MOST_SETTINGS:
                used = [node.offer for node in self._changed]
                self._offers = {known: one for known, one in self._offers.items() if any(one is other for other in used)}
            if len(self._offers) >= MOST_SETTINGS:
                hint = "give the Envoys of one kind the same addresses"
                raise RenderError(Problem("xds.settings", "node.metadata", f"more than {MOST_SETTINGS} different ones", hint))
            try:
                offer = Offer(self._spec, self._made(self._spec, settings, {}))
            except (RenderError, ValueError) as error:
                self._cannot(error)
                raise
            self._offers[settings] = offer
        return offer

    def _aim(self, node: Node) -> None:
        self.fleet.aim(node)
        if (changed := self._changed.get(node)) is not None:
            changed.set()

    # ------------------------------------------------------------------------------------------------------------------- talk
    async def start(self) -> None:
        """Listen; raises SettingsError where that is not possible."""
        await self._listener.start(self._address, self._security)

    async def stop(self) -> None:
        """End all streams; Envoys keep what they have, and come again."""
        await self._listener.stop(GRACE)

    async def _on_stream(self, requests: AsyncIterator[bytes], context: Context, delta: bool) -> None:
        kind = discovery_pb2.DeltaDiscoveryRequest if delta else discovery_pb2.DiscoveryRequest
        try:
            first = kind.FromString(await anext(requests))
            node = self._joined(first, delta)
        except (StopAsyncIteration, DecodeError):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first message is no request of an Envoy")
        except (ExtprocError, ValueError) as error:
            log.error("an Envoy cannot be served: %s", error)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error)[:1000])
        assert node.stream is not None
        stream, changed = node.stream, self._changed.setdefault(node, asyncio.Event())
        reading = asyncio.create_task(self._read(requests, kind, node, stream, changed, first))
        try:
            while not reading.done():
                changed.clear()
                for reply in stream.due(time.monotonic()):
                    self.sent[reply.part] += 1
                    await context.write(messages.said(reply, delta))
                await _until(changed, stream.wake_at(time.monotonic()))
        finally:
            reading.cancel()
            del self._changed[node]
            self.fleet.leaves(node, time.time())
            log.info("Envoy %s has left", node.id)

    def _joined(self, first: Any, delta: bool) -> Node:
        name = first.node.id[:LONGEST_NAME]
        if not name:
            raise RenderError(Problem("xds.node", "node.id", "is empty", "an Envoy needs a name: render bootstrap --node NAME"))
        offer = self._offer(settings_told(messages.metadata(first)))
        log.info("Envoy %s asks for its configuration", name)
        return self.fleet.joins(name, Stream(delta), offer, time.time())

    async def _read(
        self, requests: AsyncIterator[bytes], kind: Any, node: Node, stream: Stream, changed: asyncio.Event, first: Any
    ) -> None:
        try:
            self._hear(node, stream, first)
            changed.set()
            async for message in requests:
                self._hear(node, stream, kind.FromString(message))
                changed.set()
        except DecodeError:
            log.error("Envoy %s has said what is no request, and lost its stream", node.id)
        finally:
            changed.set()

    def _hear(self, node: Node, stream: Stream, request: Any) -> None:
        said = messages.heard(request, stream.delta)
        if said is None:
            return
        before = stream.refusal
        stream.hear(said, time.monotonic())
        if stream.refusal is not None and stream.refusal is not before:
            refusal = stream.refusal
            self.refusals[refusal.part] += 1
            log.error("Envoy %s refuses %s: %s; see `extproc status`", node.id, refusal.part.value, refusal.why, extra={"node": node.id})
        if self.fleet.follow(node):
            for other in self._changed:
                if other.offer is node.offer:
                    self._aim(other)


async def _until(changed: asyncio.Event, at: float | None) -> None:
    try:
        async with asyncio.timeout(None if at is None else max(0.0, at - time.monotonic()) + 0.001):
            await changed.wait()
    except TimeoutError:
        pass
