"""Process flags of a router and its workers."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from extproc import contract
from extproc.transport import PRIVATE, Security


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """What `extproc router` was asked to do. Exactly one of `store` and `phase` says where State comes from."""

    spec_path: str
    """The Spec's file; unused where a store publishes the Spec."""
    listen: str = contract.DEFAULT_ROUTER_LISTEN
    """`unix:PATH` or `HOST:PORT`; `contract.endpoints` gives each worker its own."""
    workers: int = 2
    transport: str = "native"
    phase: str | None = None
    store: str | None = None
    metrics_host: str = "127.0.0.1"
    metrics_port: int = contract.DEFAULT_METRICS_PORT
    """Port of /metrics and /healthz for all workers together; 0 for any free one."""
    security: Security = PRIVATE


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What one worker is told by its supervisor, as the first line on its standard input."""

    spec_text: str
    """The last good Spec, so that a worker which is restarted needs no file; empty where a store publishes it."""
    generation: int
    """Of that text: 1, and one more for each that has replaced it."""
    listen: str
    transport: str
    phase: str | None
    store: str | None
    unit_key: str
    """Hex; used where no store keeps the key."""
    security: Security
    name: str
    """Host and number, for assignments: sample ratios are looked at by worker."""

    @classmethod
    def read(cls, line: bytes) -> WorkerSettings:
        """What `write` wrote."""
        given = orjson.loads(line)
        return cls(**{**given, "security": Security(**given["security"])})

    def write(self) -> bytes:
        """One line of JSON."""
        return orjson.dumps(self)
