"""What a controller process is told."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

from extproc import contract
from extproc.controller.doors import Doors
from extproc.store.exposures import Keep


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """What `extproc controller` was asked to do."""

    spec_path: str
    store: str = contract.DEFAULT_STORE
    collector: str = contract.DEFAULT_COLLECTOR_LISTEN
    sampler: str = contract.DEFAULT_SAMPLER_LISTEN
    """Where Envoy sends copies for the judge, where the Spec has one."""
    feedback: str = contract.DEFAULT_FEEDBACK_LISTEN
    """HOST:PORT where Envoy sends what users post, where the Spec has feedback."""
    api_port: int = contract.DEFAULT_API_PORT
    """Loopback port; 0 for any free one."""
    doors: Doors = field(default_factory=Doors)
    """How a network may reach it, and who may do what; what it asks other controllers' collectors with, too."""
    xds: str = ""
    """Where Envoys ask for their configuration: unix:PATH or HOST:PORT; empty: they are not told."""
    xds_owner: str = ""
    """Of that Unix socket, see `Security.socket_owner`."""
    keep: Keep = field(default_factory=Keep)
    """How many exposures are kept."""
    ends_with_stdin: bool = False
    """End when standard input closes: a child must not outlive the process that started it."""
    name: str = field(default_factory=socket.gethostname)
    """What this controller is called among those of one store, beyond one machine."""
    advertise: str = ""
    """Where other controllers reach this one's collector; empty: where it listens."""
    lease: float = contract.DEFAULT_LEASE
    """Seconds."""
