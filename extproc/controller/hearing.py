"""Keeps a feedback process while the Spec has feedback: begins it, begins it anew on other terms, ends it; its socket outlives it."""

from __future__ import annotations

import asyncio
import logging
import socket
from hashlib import sha256
from typing import Final

import orjson

from extproc.assign.answered import feedback_key
from extproc.controller.feedback import FeedbackSettings
from extproc.controller.feedback.process import METRICS, READ, command
from extproc.controller.loop import Loop
from extproc.controller.token import server_token
from extproc.domain import FeedbackTerms
from extproc.errors import SettingsError
from extproc.runtime.child import ASK_TIMEOUT, Child
from extproc.runtime.http import listening
from extproc.store import Store
from extproc.transport import PRIVATE, Security, beyond, parse_address

LOOK_EVERY: Final = 0.5
"""Seconds between two looks at the Spec."""
ASK_EVERY: Final = 4
"""Looks between two questions: up to where its log was read is told, and its series are asked for."""
STOP_TIMEOUT: Final = 4.0

log = logging.getLogger(__name__)


class FeedbackKeeper:
    """Of one controller."""

    def __init__(self, loop: Loop, store: Store, listen: str, security: Security = PRIVATE) -> None:
        """`listen`: HOST:PORT where Envoy sends what users post. `security`: of a port that a network reaches."""
        self._loop = loop
        self._store = store
        self._listen = listen
        self._security = security
        self._listener: socket.socket | None = None
        self._child: Child | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._terms: tuple[FeedbackTerms, int] | None = None
        self._refused: tuple[FeedbackTerms, int] | None = None
        self.read_up_to = 0
        """Sequence of the log's last line that the brain has read."""
        self.series = b""
        """Prometheus text of the process, as of late; empty where there is none."""

    async def start(self) -> None:
        """Begin it where the Spec asks for it; raises SettingsError where its address is taken."""
        if self._wanted() is not None:
            await self._begin()

    async def keep(self) -> None:
        """Forever."""
        looks = 0
        while True:
            await asyncio.sleep(LOOK_EVERY)
            wanted = self._wanted()
            if wanted != self._terms and wanted != self._refused:
                await self.stop()
                if wanted is not None:
                    await self._try()
            looks += 1
            if self._child is not None and looks % ASK_EVERY == 0:
                await self._child.ask(READ + str(self.read_up_to).encode(), ASK_TIMEOUT)
                said = await self._child.ask(METRICS, ASK_TIMEOUT)
                self.series = orjson.loads(said).encode() if said is not None and said.startswith(b'"') else self.series

    def _wanted(self) -> tuple[FeedbackTerms, int] | None:
        """What the Spec says that the process has to know."""
        spec = self._loop.spec
        # Envoy itself appends who came to it.
        return (spec.feedback, spec.listener.trusted_hops + 1) if spec.feedback is not None else None

    async def _try(self) -> None:
        try:
            await self._begin()
        except SettingsError as error:
            self._refused = self._wanted()
            log.error("nobody listens to users: %s", error.problems[0], extra={"problem": error.problems[0].id})

    async def _begin(self) -> None:
        wanted = self._wanted()
        assert wanted is not None
        if self._listener is None:
            host, _, port = self._listen.rpartition(":")
            self._listener = await listening(host, int(port))
        terms, hops = self._terms = wanted
        self._refused = None
        settings = FeedbackSettings(
            store=self._loop.store_url,
            signing_keys=(feedback_key(self._store.unit_key()).hex(),),
            listener=self._listener.fileno(),
            listen=self._listen,
            origins=terms.origins,
            keys_file=terms.keys_file,
            admin_digest=sha256(server_token(self._loop.store_url).encode()).hexdigest(),
            allow_request_ids_from_browsers=terms.request_ids_from_browsers,
            window=terms.window,
            trusted_hops=hops,
            security=beyond(parse_address(self._listen), self._security),
        )
        self._child = Child("the feedback process", command(), settings.write(), files=(self._listener.fileno(),))
        self._keeping = asyncio.create_task(self._child.keep())

    async def stop(self) -> None:
        """End the process, in order; whoever connects meanwhile waits."""
        self._terms, self.series = None, b""
        if self._child is not None:
            await self._child.stop(STOP_TIMEOUT)
            self._child = None
        if self._keeping is not None:
            await self._keeping
            self._keeping = None

    async def close(self) -> None:
        """Stop, and give back the socket."""
        await self.stop()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
