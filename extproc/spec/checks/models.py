"""Models, the listener, identity headers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from extproc.spec.checks.tools import Found, block, known, mapping, not_reserved
from extproc.spec.document.application import IdentityBlock
from extproc.spec.document.models import EndpointBlock, ModelBlock
from extproc.spec.yamltext import Path


def check(document: Mapping[str, Any]) -> Iterator[Found]:
    """Clusters are there once; headers are not ours."""
    models, listener = mapping(document.get("models")), mapping(document.get("listener"))
    yield from _clusters(models)
    if models:
        yield from known("spec.unknown-model", "model", ("listener", "default_model"), listener.get("default_model"), list(models))
    identity = block(IdentityBlock, document.get("identity", {}))
    if identity is not None:
        for key in ("tier_header", "country_header", "region_header", "asn_header"):
            yield from not_reserved(("identity", key), getattr(identity, key))
    for header in mapping(listener.get("set_by")):
        yield from not_reserved(("listener", "set_by", header), header.lower())


def _clusters(models: Mapping[str, Any]) -> Iterator[Found]:
    seen: dict[str, str] = {}
    for name, written in models.items():
        model = block(ModelBlock, written)
        if model is None:
            continue
        places = (model.endpoint, model.endpoints, model.endpoint_slices)
        pooled = ((one.endpoint, one.endpoints, one.endpoint_slices) for one in model.pool or ())
        if model.probe is not None and not any(place for one in (places, *pooled) for place in one):
            hint = "add its endpoint, or leave the probe out"
            yield "spec.probe-nowhere", ("models", name, "probe"), "there is no endpoint that could be asked", hint
        if model.affinity is not None and model.affinity.header is not None:
            yield from not_reserved(("models", name, "affinity", "header"), model.affinity.header)
        for cluster in [backend.cluster for backend in model.pool or ()] or [model.cluster or name]:
            if cluster in seen:
                message = f"its cluster {cluster!r} is already that of model {seen[cluster]!r}"
                yield "spec.same-cluster", ("models", name), message, "give each model a cluster of its own"
            seen.setdefault(cluster, name)
        pool: list[tuple[Path, list[EndpointBlock] | None]] = [
            (("pool", number, "endpoints"), backend.endpoints) for number, backend in enumerate(model.pool or ())
        ]
        for path, endpoints in [(("endpoints",), model.endpoints), *pool]:
            if endpoints and len({one.tls is None for one in endpoints}) > 1:
                message = "some endpoints use TLS and some do not"
                yield "spec.mixed-tls", ("models", name, *path), message, "a cluster has one transport: make them two models"
