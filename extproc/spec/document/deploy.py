"""Where the release runs: image, namespace, domain, and the models that we serve ourselves."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from extproc.domain import Colour, Overlay
from extproc.spec.document.base import Block, Name, Port, Text

LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
IMAGE_PATTERN = r"^[a-z0-9][a-z0-9./:_-]*(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}|@sha256:[0-9a-f]{64})$"
DOMAIN_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$"
QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"
BUCKET_PATTERN = r"^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$"
ACCOUNT_PATTERN = r"^[a-z0-9-]+@[a-z0-9.-]+$"

Label = Annotated[str, Field(pattern=LABEL_PATTERN)]
Image = Annotated[str, Field(pattern=IMAGE_PATTERN, max_length=512)]
Quantity = Annotated[str, Field(pattern=QUANTITY_PATTERN)]
Replicas = Annotated[int, Field(ge=1, le=1000)]


class ServerBlock(Block):
    """How one colour of a model is served."""

    image: Annotated[Image, Field(description="Image of the model's server, with a tag or a digest.")]
    args: Annotated[list[Text], Field(description="Its arguments.")] = []
    replicas: Annotated[Replicas, Field(description="Pods of this colour.")] = 1


class ServedModelBlock(Block):
    """A model that we serve ourselves: blue and green, and which of them its Service selects."""

    blue: Annotated[ServerBlock, Field(description="One colour.")]
    green: Annotated[ServerBlock | None, Field(description="The other one; there is no switch without it.")] = None
    serving: Annotated[Colour, Field(strict=False, description="The colour that requests go to.")] = Colour.BLUE
    gpus: Annotated[int, Field(ge=0, le=64, description="GPUs of each replica.")] = 1
    cpu: Annotated[Quantity, Field(description="CPU of each replica.")] = "4"
    memory: Annotated[Quantity, Field(description="Memory of each replica.")] = "32Gi"
    weights: Annotated[Label | None, Field(description="PersistentVolumeClaim with the model's files, at /models.")] = None
    most_replicas: Annotated[Replicas | None, Field(description="Autoscaling of a colour goes up to so many; none by default.")] = None
    requests_per_replica: Annotated[
        int | None,
        Field(ge=1, le=100_000, description="Requests under way that one replica bears; from the model's `serving` by default, else 32."),
    ] = None

    @model_validator(mode="after")
    def _there_is_what_serves(self) -> ServedModelBlock:
        if self.serving is Colour.GREEN and self.green is None:
            raise ValueError("green is serving, and there is no green: add it, or write serving: blue")
        largest = max(one.replicas for one in (self.blue, self.green) if one is not None)
        if self.most_replicas is not None and self.most_replicas < largest:
            raise ValueError(f"most_replicas is {self.most_replicas}, and a colour has {largest} replicas already")
        return self


class DeployBlock(Block):
    """What manifests need and no other block says."""

    image: Annotated[Image, Field(description="Image of extproc (see Dockerfile), with a tag or a digest.")]
    domain: Annotated[str, Field(pattern=DOMAIN_PATTERN, max_length=253, description="Name by which clients reach the application.")]
    namespace: Annotated[Label | None, Field(description="Kubernetes namespace; the application's name by default.")] = None
    envoy_image: Annotated[Image, Field(description="Image of Envoy 1.40.")] = "envoyproxy/envoy:v1.40.0"
    overlays: Annotated[
        list[Annotated[Overlay, Field(strict=False)]], Field(min_length=1, description="Which ways to run it are written.")
    ] = [Overlay.EDGE]
    secret: Annotated[Label | None, Field(description="Secret with the keys that credentials name; <application>-keys by default.")] = None
    storage: Annotated[Quantity, Field(description="Size of the store's volume.")] = "10Gi"
    storage_class: Annotated[Label | None, Field(description="StorageClass; the cluster's own by default.")] = None
    databases: Annotated[Label | None, Field(description="PersistentVolumeClaim with the geoip databases.")] = None
    application_image: Annotated[Image | None, Field(description="Image of the application, for the sidecar overlay.")] = None
    application_port: Annotated[Port, Field(description="Port of the application, for the sidecar overlay.")] = 3000
    tls_secret: Annotated[Label | None, Field(description="TLS Secret of the domain; without it TLS ends in front of Envoy.")] = None
    router_tls: Annotated[Label | None, Field(description="Secret with tls.crt, tls.key, ca.crt, for the scaled overlay.")] = None
    gateway_class: Annotated[Label, Field(description="GatewayClass of Envoy Gateway.")] = "eg"
    monitoring_namespace: Annotated[Label, Field(description="Namespace whose pods may read metrics.")] = "monitoring"
    backup_bucket: Annotated[str | None, Field(pattern=BUCKET_PATTERN, description="Bucket for backups, on Cloud Run.")] = None
    service_account: Annotated[str | None, Field(pattern=ACCOUNT_PATTERN, description="Service account, on Cloud Run.")] = None
    models: Annotated[dict[Name, ServedModelBlock], Field(description="Models that you serve yourself.")] = {}

    @model_validator(mode="after")
    def _each_overlay_has_what_it_needs(self) -> DeployBlock:
        if Overlay.SIDECAR in self.overlays and self.application_image is None:
            raise ValueError("overlay sidecar needs application_image: the pod is the application's")
        if Overlay.SCALED in self.overlays and self.router_tls is None:
            raise ValueError("overlay scaled needs router_tls: decisions go over a network")
        return self
