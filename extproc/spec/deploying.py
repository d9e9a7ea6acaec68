"""The block `deploy` as written -> the noun, names that were left out made from the application's."""

from __future__ import annotations

from extproc.domain import Colour, Deploy, ServedModel, Server
from extproc.spec.document.deploy import DeployBlock, ServedModelBlock, ServerBlock


def deploy(block: DeployBlock, application: str) -> Deploy:
    """The noun of a checked block."""
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
        models={name: _model(model) for name, model in block.models.items()},
    )


def _model(block: ServedModelBlock) -> ServedModel:
    servers = {Colour.BLUE: _server(block.blue)}
    if block.green is not None:
        servers[Colour.GREEN] = _server(block.green)
    scaled = block.most_replicas or 0
    return ServedModel(servers, block.serving, block.gpus, block.cpu, block.memory, block.weights or "", scaled, block.requests_per_replica)


def _server(block: ServerBlock) -> Server:
    return Server(block.image, tuple(block.args), block.replicas)
