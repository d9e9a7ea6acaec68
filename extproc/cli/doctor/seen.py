"""Everything that the checks look at, gathered before the first of them runs. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extproc import contract
from extproc.domain import Spec
from extproc.errors import Problem

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """Where to look; the same flags and defaults as the other commands."""

    spec: Path | None
    """None: the file that the controller names."""
    envoy_admin: str | None
    """None: the admin port that the Spec names, on loopback. Empty: there is no Envoy to look at from here."""
    api: str
    token_file: Path | None
    listen: str
    workers: int
    collector: str
    store: str
    metrics_port: int
    ca_bundle: str
    """With which Envoy's configuration was rendered."""
    sample: float
    """Seconds between two looks at counters."""
    sampler: str = contract.DEFAULT_SAMPLER_LISTEN


@dataclass(frozen=True, slots=True)
class Failed:
    """It could not be asked."""

    why: str
    address: str
    silent: bool = False
    """It listens, and does not answer."""
    status: int = 0
    """The HTTP status where it answered with another one than 200."""


@dataclass(frozen=True, slots=True)
class SpecSeen:
    """The Spec's file."""

    path: str
    spec: Spec | None
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class EnvoySeen:
    """Envoy's admin interface; counters as they were at the beginning and at the end of the sample."""

    address: str
    server: Document
    clusters: Document
    config: Document
    runtime: Document
    before: Mapping[str, int]
    after: Mapping[str, int]
    skew: float | None
    """Envoy's Date minus our clock, in seconds, as far as a header with whole seconds tells."""


@dataclass(frozen=True, slots=True)
class ControllerSeen:
    """The controller's API."""

    address: str
    status: Document
    skew: float
    """Its clock minus ours, in seconds."""
    before: Mapping[str, float]
    """Its metrics, summed by name."""
    after: Mapping[str, float]
    earlier: Document
    """`status` at the beginning of the sample: what was only so at one end of it is on its way."""


@dataclass(frozen=True, slots=True)
class RouterSeen:
    """A router's /metrics at the end of the sample."""

    address: str
    generations: Mapping[str, int]
    """By worker."""
    ages: Mapping[str, float]
    serving: int
    silent: int
    restarts: Mapping[str, int]
    """By worker, since the router started."""
    spec_problem: bool


@dataclass(frozen=True, slots=True)
class EndpointSeen:
    """One address on which extproc should listen."""

    name: str
    address: str
    problem: str = ""
    """Empty, or: missing, no-socket, stale, forbidden, refused, silent, not-serving, unreachable, tls."""
    detail: str = ""
    owner: str = ""
    mode: int | None = None
    """Of a Unix socket."""


@dataclass(frozen=True, slots=True)
class StoreSeen:
    """The store's file."""

    path: str
    problem: str = ""
    """Why it could not be read; empty where it was."""
    size: int = 0
    wal: int = 0
    free: int = 0
    """Bytes left on its disk."""
    mode: int = 0
    writable: bool = True
    """By us, or on a file system that can be written."""
    integrity: str = ""
    """`ok`, or what SQLite found; empty where it took too long."""
    generation: int | None = None
    writer: int | None = None
    """Process that holds the writer's lock; 0: nobody; None: the kernel's table cannot be read."""
    shared: bool = False
    """It is no file but etcd; then only `path`, `problem` and `generation` tell something."""


@dataclass(frozen=True, slots=True)
class Seen:
    """All of it."""

    asked: Asked
    seconds: float
    """How long the sample was."""
    spec: SpecSeen | None
    """None: nobody named a file."""
    envoy: EnvoySeen | Failed | None
    """None: not asked for."""
    controller: ControllerSeen | Failed
    router: RouterSeen | Failed
    workers: tuple[EndpointSeen, ...]
    collector: EndpointSeen
    store: StoreSeen
