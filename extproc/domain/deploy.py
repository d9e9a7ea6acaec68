"""Where a release runs: what manifests need and no other block of the Spec says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Overlay(StrEnum):
    """A way to run Envoy, router and controller on Kubernetes; each is a kustomize overlay of its own."""

    EDGE = "edge"
    """One Deployment with all three, in front of everything."""
    SIDECAR = "sidecar"
    """All three in the application's own pod."""
    SCALED = "scaled"
    """Several Envoys behind an autoscaler, and one pod with router and controller; mutual TLS between them."""
    ISTIO = "istio"
    """In the pod of an Istio gateway, by EnvoyFilter."""
    ENVOY_GATEWAY = "envoy-gateway"
    """In the pods of an Envoy Gateway, by EnvoyExtensionPolicy and EnvoyPatchPolicy."""


class Colour(StrEnum):
    """The two Deployments of a model that we serve ourselves; its Service selects one of them."""

    BLUE = "blue"
    GREEN = "green"

    @property
    def other(self) -> Colour:
        """The one that is not this one."""
        return Colour.GREEN if self is Colour.BLUE else Colour.BLUE


@dataclass(frozen=True, slots=True)
class Server:
    """How one colour of a model is served."""

    image: str
    args: tuple[str, ...]
    replicas: int


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that we serve ourselves, behind the Service that its endpoint names."""

    servers: Mapping[Colour, Server]
    serving: Colour
    """The colour that the Service selects."""
    gpus: int
    """GPUs of each replica; 0 for none."""
    cpu: str
    memory: str
    """Of each replica, as Kubernetes writes quantities."""
    weights: str
    """Name of a PersistentVolumeClaim with the model's files, mounted at /models; "" for none."""
    most_replicas: int
    """Up to how many replicas of a colour the autoscaler goes; 0: nobody scales."""
    requests_per_replica: int
    """Requests under way at which one more replica is wanted."""


@dataclass(frozen=True, slots=True)
class Deploy:
    """What manifests are made of."""

    image: str
    """The image of extproc, with a tag or a digest."""
    envoy_image: str
    namespace: str
    domain: str
    """Name by which clients reach the application."""
    overlays: tuple[Overlay, ...]
    secret: str
    """The Secret whose keys are the environment variables, and the names of the files, that the Spec's credentials name."""
    storage: str
    """Size of the store's volume."""
    storage_class: str
    """"" for the cluster's own."""
    databases: str
    """PersistentVolumeClaim with the geoip databases; "" for none."""
    application_image: str
    """The application's own image, for the sidecar overlay; "" where there is none."""
    application_port: int
    tls_secret: str
    """TLS Secret of `domain`; "": TLS ends in front of Envoy."""
    router_tls: str
    """Secret with tls.crt, tls.key and ca.crt for Envoy and router of the scaled overlay; "" for none."""
    gateway_class: str
    """GatewayClass of Envoy Gateway."""
    monitoring_namespace: str
    """Namespace whose pods may read metrics."""
    backup_bucket: str
    """Bucket for backups on Cloud Run; "" for none."""
    service_account: str
    """Service account of the Cloud Run service; "" for the project's default."""
    models: Mapping[str, ServedModel]
    """Models that we serve ourselves."""
