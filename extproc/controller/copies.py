"""Takes Envoy's copies over gRPC: one stream for each copied request, messages in, none out."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from extproc import contract
from extproc.controller.doors import COPIES_HARM
from extproc.errors import SettingsError
from extproc.judge.languages import warm_up
from extproc.judge.pipeline import Pipeline
from extproc.judge.sampling import Chances, Copy, Gathered, Sampler
from extproc.transport import PRIVATE, Security, beyond, parse_address, problems
from extproc.transport.grpcio import Listener
from extproc.wire import read_copy

MOST_OPEN: Final = 512
"""Streams; the rendered Envoy opens half as many at the most."""
LONGEST_MESSAGE: Final = 4 << 20
"""Bytes; Envoy sends a body in the pieces in which it came."""
MOST_WAITING: Final = 256
"""Copies that wait to be made samples."""
GRACE: Final = 0.5
EOF: Final[Any] = getattr(grpc.aio, "EOF")  # noqa: B009 - the stubs do not have it

log = logging.getLogger(__name__)


class CopyServer:
    """The server; all streams on one event loop."""

    def __init__(self, sampler: Sampler, pipeline: Pipeline, chances: Chances, longest: int) -> None:
        """`longest`: bytes that are kept of each body."""
        self._sampler, self._pipeline, self._chances, self._longest = sampler, pipeline, chances, longest
        limits = ("grpc.max_concurrent_streams", MOST_OPEN), ("grpc.max_receive_message_length", LONGEST_MESSAGE)
        self._listener = Listener({contract.PROCESS_METHOD: grpc.stream_stream_rpc_method_handler(self._take)}, limits)
        self.copies = 0
        self.bad = 0
        """Messages that could not be read."""
        self._waiting: asyncio.Queue[tuple[Gathered, bool]] = asyncio.Queue(MOST_WAITING)
        self.dropped = 0
        """Copies for which there was no time; which ones has nothing to do with the arm."""
        self.undecided = 0
        """Copies of requests without a decision, or without an id."""

    async def start(self, listen: str, security: Security = PRIVATE) -> None:
        """Listen; raises SettingsError where that is not possible, and beyond loopback without mutual TLS: copies are texts of users."""
        address = parse_address(listen)
        if found := problems(address, beyond(address, security), "--sampler", COPIES_HARM):
            raise SettingsError(found)
        await self._listener.start(address, beyond(address, security))

    async def stop(self) -> None:
        """Take no more."""
        await self._listener.stop(GRACE)

    async def _take(self, _: Any, context: Any) -> None:
        """One copy. Envoy resets the stream a while after its request has ended: what is there by then is all there is."""
        copy, chosen, over = Copy(self._longest, time.time()), False, False
        try:
            while (message := await context.read()) is not EOF:
                told = read_copy(message)
                first = copy.assigned is None
                copy.take(told)
                if first and copy.assigned is not None:
                    share = self._chances.arrive(time.time())
                    chosen = self._pipeline.chooser(copy.assigned.rollout).chosen(copy.request, share)
                if not over and copy.ended:
                    over = True
                    self._end(copy, chosen)
        except DecodeError:
            self.bad += 1
        except asyncio.CancelledError:
            pass
        finally:
            if not over:
                self._end(copy, chosen)

    def _end(self, copy: Copy, chosen: bool) -> None:
        self.copies += 1
        gathered = copy.end()
        if gathered is None:
            self.undecided += 1
        elif self._waiting.full():
            self.dropped += 1
        else:
            self._waiting.put_nowait((gathered, chosen))

    async def work(self) -> None:
        """Make samples of what was gathered, forever, one after the other. In a thread: a long text takes a second to redact, and meanwhile
        copies go on to come in."""
        await asyncio.to_thread(warm_up)
        while True:
            gathered, chosen = await self._waiting.get()
            try:
                sample = await asyncio.to_thread(self._sampler.sample, gathered, chosen)
            except Exception:
                self.bad += 1
                log.exception("a copy could not be made a sample; please report it")
                continue
            if sample is not None:
                self._pipeline.put(sample)

    def document(self) -> dict[str, Any]:
        """For `status`."""
        return {"copies": self.copies, "bad_copies": self.bad, "undecided_copies": self.undecided, "dropped_copies": self.dropped}
