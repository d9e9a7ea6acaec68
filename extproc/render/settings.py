"""What an Envoy configuration depends on besides the Spec: where the processes listen, and how new the Envoy is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from extproc import contract
from extproc.domain import Model, Spec
from extproc.errors import ExtprocError

CA_BUNDLE: Final = "/etc/ssl/certs/ca-certificates.crt"
"""The system's bundle of authorities in Debian, Ubuntu and Envoy's own images."""


class RenderError(ExtprocError):
    """No configuration can be made from this Spec and these settings."""


class Profile(StrEnum):
    """`full`: Envoy 1.40, with extensions that are still alpha. `core`: from Envoy 1.36 on, without them."""

    FULL = "full"
    CORE = "core"


@dataclass(frozen=True, slots=True)
class RouterTls:
    """Mutual TLS towards the router, or the controller; PEM files on Envoy's machine."""

    ca: str
    """Authorities that signed its certificate."""
    name: str
    """The DNS name or address in that certificate; "" towards the controller: the host of each address."""
    certificate: str
    """Envoy's own chain; "" where none is asked for."""
    key: str


@dataclass(frozen=True, slots=True)
class EnvoySettings:
    """Addresses are `unix:PATH` or `HOST:PORT`, as Envoy sees them. Those of controllers may be several, with commas between them."""

    router: tuple[str, ...] = contract.endpoints(contract.DEFAULT_ROUTER_LISTEN, 2)
    """One address per worker."""
    collector: str = contract.DEFAULT_COLLECTOR_LISTEN
    profile: Profile = Profile.FULL
    ca_bundle: str = CA_BUNDLE
    """PEM bundle on Envoy's machine for models whose Spec names no `ca_file`."""
    message_timeout: float = 0.05
    """Seconds that a request waits for its decision before it goes to stable: far above a decision, far below an answer."""
    router_tls: RouterTls | None = None
    """None: a Unix socket, loopback, or a mesh between Envoy and router."""
    health_timeout: float = 0.2
    """Seconds that a worker may take to say that it is well; one answer later than that, and it is asked for no decision."""
    sampler: str = contract.DEFAULT_SAMPLER_LISTEN
    """Where copies for the judge go, in a Spec that has one."""
    feedback: str = contract.DEFAULT_FEEDBACK_LISTEN
    """Where what users post goes, in a Spec that listens to them."""
    controller_tls: RouterTls | None = None
    """Towards collector, sampler and feedback service, where they are neither Unix sockets nor on loopback; None: a mesh between."""
    secrets: str = ""
    """Directory on Envoy's machine with the files of `peers.secret_files`: rotated certificates are taken without a restart. "": files are
    read once."""


def routed_models(spec: Spec) -> tuple[Model, ...]:
    """Models that a request can be sent to: both of every rollout of the layer `model`, and the default; in the Spec's order."""
    names = {
        name for rollout in spec.rollouts.values() if rollout.layer == contract.MODEL_LAYER for name in (rollout.stable, rollout.canary)
    }
    if spec.listener.default_model is not None:
        names.add(spec.listener.default_model)
    return tuple(model for name, model in spec.models.items() if name in names)
