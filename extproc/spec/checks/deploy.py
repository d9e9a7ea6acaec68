"""Models that we serve ourselves: each is one of the Spec's, behind a Service of the cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from extproc.spec.checks.tools import Found, block, known, mapping
from extproc.spec.document.deploy import LABEL_PATTERN, DeployBlock, ServedModelBlock
from extproc.spec.document.models import ModelBlock

_LONGEST = 40
"""Characters of an application's name in manifests: what is made of it gets up to 20 more, and a name of Kubernetes has 63."""


def check(document: Mapping[str, Any]) -> Iterator[Found]:
    """Nothing where there is no block `deploy`."""
    deploy = block(DeployBlock, document.get("deploy"))
    if deploy is None:
        return
    name = mapping(document.get("application")).get("name")
    if isinstance(name, str) and not _is_label(name, _LONGEST):
        message = f"{name!r} names what is deployed, and is no name of Kubernetes"
        yield "spec.deploy-name", ("application", "name"), message, f"use lower-case letters, digits and dashes, at most {_LONGEST}"
    models = mapping(document.get("models"))
    for served in deploy.models:
        path = ("deploy", "models", served)
        yield from known("spec.unknown-model", "model", path, served, list(models))
        model = block(ModelBlock, models.get(served)) if served in models else None
        if model is None:
            continue
        yield from _scaled(path, deploy.models[served], model)
        service = service_of(model, deploy.namespace or str(name))
        if service is None:
            hint = f"write endpoint: {{host: {served}.{deploy.namespace or name}.svc.cluster.local, port: 8000}}"
            yield "spec.deploy-service", path, "its endpoint is no Service of the release's namespace", hint
        elif not _is_label(service, _LONGEST):
            yield "spec.deploy-service", path, f"{service!r} is too long for a Service and its two Deployments", f"at most {_LONGEST}"


def _scaled(path: tuple[str, ...], served: ServedModelBlock, model: ModelBlock) -> Iterator[Found]:
    """The autoscaler must be able to see that there are too many."""
    serving, asked = model.serving, served.requests_per_replica
    if serving is not None and asked is not None and asked > serving.concurrency:
        message = f"a replica answers {serving.concurrency} requests at once (its `serving.concurrency`), and never has {asked} under way"
        hint = "leave it out: it is then serving.concurrency times serving.utilization"
        yield "spec.requests-per-replica", (*path, "requests_per_replica"), message, hint


def service_of(model: ModelBlock, namespace: str) -> str | None:
    """The Service of a namespace that is a model's one endpoint; None where it is another host, or a pool."""
    if model.endpoint is None or model.endpoint.tls is not None:
        return None
    name, _, rest = model.endpoint.host.partition(".")
    return name if rest in (f"{namespace}.svc.cluster.local", f"{namespace}.svc", namespace) else None


def _is_label(name: str, longest: int) -> bool:
    return len(name) <= longest and re.match(LABEL_PATTERN, name) is not None
