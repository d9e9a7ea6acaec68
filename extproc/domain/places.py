"""Where a model's replicas are, and whether they are well, where that changes while a Spec stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tls:
    sni: str
    ca_file: str | None
    """PEM bundle; None: the system's."""


@dataclass(frozen=True, slots=True)
class Slices:
    """Kubernetes EndpointSlices in a file on the controller's machine, which somebody keeps up to date."""

    file: str
    port: str | None
    """Name of the slices' port; None: the only one they have."""
    tls: Tls | None


@dataclass(frozen=True, slots=True)
class Probe:
    """How the controller finds out whether a replica is well: any answer below 400 to a GET."""

    path: str
    every: float
    """Seconds."""
    timeout: float
    """Seconds."""
