"""The block `deploy` as written -> the noun, names that were left out made from the application's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from extproc.domain import Colour, Deploy, ServedModel, Server
from extproc.spec.document.deploy import DeployBlock, ServedModelBlock, ServerBlock
from extproc.spec.document.models import ModelBlock
from extproc.spec.hosting import serving

REQUESTS_PER_REPLICA: Final = 32
"""Where nobody measured the model's server: vLLM has some hundred places, and answers slow down long before they are taken."""


def deploy(block: DeployBlock, application: str, models: Mapping[str, ModelBlock]) -> Deploy:
    """The noun of a checked block; `models` are the Spec's, some of which it serves."""
    return Deploy(
        image=block.image,
        envoy_image=block.envoy_image,
        namespace=block.namespace or application,
        domain=block.domain,
        overlays=tuple(dict.fromkeys(block.overlays)),
        secret=block.secret or f"{application}-keys",
        storage=block.storage,
        storage_class=block.storage_class or "",
        databases=block.databases or "",
        application_image=block.application_image or "",
        application_port=block.application_port,
        tls_secret=block.tls_secret or "",
        router_tls=block.router_tls or "",
        gateway_class=block.gateway_class,
        monitoring_namespace=block.monitoring_namespace,
        backup_bucket=block.backup_bucket or "",
        service_account=block.service_account or "",
        models={name: _model(model, models[name]) for name, model in block.models.items()},
    )


def _model(block: ServedModelBlock, model: ModelBlock) -> ServedModel:
    servers = {Colour.BLUE: _server(block.blue)}
    if block.green is not None:
        servers[Colour.GREEN] = _server(block.green)
    scaled = block.most_replicas or 0
    measured = serving(model.serving)
    bears = block.requests_per_replica or (measured.bears if measured is not None else REQUESTS_PER_REPLICA)
    return ServedModel(servers, block.serving, block.gpus, block.cpu, block.memory, block.weights or "", scaled, bears)


def _server(block: ServerBlock) -> Server:
    return Server(block.image, tuple(block.args), block.replicas)
