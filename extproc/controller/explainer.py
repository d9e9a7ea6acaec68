"""The API process explains requests: by the State in the store and the Spec that it names, in a thread, whatever the brain does.

It decides nothing: no request of anybody's travels by its answer. What it is asked (ids of users, credentials) is neither logged nor kept.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson

from extproc import spec as spec_room
from extproc.assign import Prepared, Secrets, conversation_key, prepare
from extproc.assign.question import Question
from extproc.controller.explaining import explained
from extproc.domain import Spec, State
from extproc.errors import Problem, StoreError
from extproc.store import Store, open_store


class StoredExplainer:
    """One connection to the store and the last Spec, compiled; both used by one thread."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._store: Store | None = None
        self._prepared: tuple[tuple[str, dict[str, str]], Prepared] | None = None
        self._thread = ThreadPoolExecutor(1, "explain")

    async def explain(self, question: Question, now: float | None, silent: float) -> dict[str, Any]:
        """See controller.explaining.explained. `silent`: seconds for which the brain has not answered. Raises StoreError."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._explain, question, now, silent)

    def close(self) -> None:
        """Wait for what is being explained, and close."""
        self._thread.shutdown()
        if self._store is not None:
            self._store.close()

    def _explain(self, question: Question, now: float | None, silent: float) -> dict[str, Any]:
        if self._store is None:
            self._store = open_store(self._url)
        state = self._store.read_state()
        if state is None:
            raise StoreError(Problem("explain.no-state", self._url, "holds no State yet", "start the controller with a Spec"))
        prepared = self._compiled(self._store, state)
        withdrawn = self._withdrawn(self._store, state, prepared.spec, silent)
        return explained(prepared, state, question, time.time() if now is None else now, str(uuid.uuid4()), withdrawn, verifies_tokens=True)

    def _compiled(self, store: Store, state: State) -> Prepared:
        """The Spec in force; compiled anew only where it, or a flag's document, is another one."""
        key = state.spec_digest, dict(state.flags)
        if self._prepared is None or self._prepared[0] != key:
            polled = {source: orjson.loads(store.read_spec(digest)) for source, digest in state.flags.items()}
            # Secrets of QA headers are the routers' alone.
            secrets = Secrets(conversation_key(store.unit_key()))
            self._prepared = key, prepare(spec_room.load(store.read_spec(state.spec_digest)), secrets, polled)
        return self._prepared[1]

    def _withdrawn(self, store: Store, state: State, spec: Spec, silent: float) -> frozenset[str]:
        """Rollouts whose canary traffic routers send to stable: nobody watches, or their outcomes do not arrive."""
        exposed = frozenset(name for name, one in state.rollouts.items() if one.status.asks_the_canary)
        heartbeat = store.read_heartbeat()
        if heartbeat is None or silent >= spec.application.watch_lease:
            return exposed
        return exposed & frozenset(heartbeat.blind)
