"""Manifests as data, and as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from extproc.domain import Deploy, Spec
from extproc.errors import Problem
from extproc.render.settings import RenderError
from extproc.render.yamltext import dump

Document = dict[str, Any]
Files = dict[str, str]
"""Name inside a folder -> text."""

MADE_BY: Final = "extproc plan"


def labels(spec: Spec, component: str) -> dict[str, str]:
    """By these a pod is found; they never change, since a Deployment's selector cannot."""
    return {
        "app.kubernetes.io/name": "extproc",
        "app.kubernetes.io/instance": spec.application.name,
        "app.kubernetes.io/component": component,
    }


def manifest(spec: Spec, api: str, kind: str, name: str, component: str, /, **rest: Any) -> Document:
    """A Kubernetes object of the release's namespace."""
    metadata = {"name": name, "namespace": deploy_of(spec).namespace, "labels": labels(spec, component)}
    annotations = rest.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}


def heading(spec: Spec, what: str) -> str:
    """First lines of a file: what it is, and that nobody edits it."""
    return f"{what}\nMade by `{MADE_BY}` from Spec {spec.digest}; edit the Spec, not this file."


def text(spec: Spec, *documents: Document, what: str = "") -> str:
    """Several objects in one YAML file; `what` it is, by default their kinds and names."""
    named = what or ", ".join(f"{one['kind']} {one['metadata']['name']}" for one in documents)
    first, *others = (dump(document, "") for document in documents)
    return "".join((dump({}, heading(spec, named)).removesuffix("{}\n"), first, *(f"---\n{other}" for other in others)))


def kustomization(spec: Spec, what: str, resources: Sequence[str], **rest: Any) -> str:
    """A kustomization.yaml."""
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": deploy_of(spec).namespace,
        "resources": list(resources),
        **rest,
    }
    return text(spec, document, what=what)


def deploy_of(spec: Spec) -> Deploy:
    """The Spec's `deploy`; raises RenderError where it has none."""
    if spec.deploy is None:
        hint = "write deploy: {image: registry.acme.test/extproc:0.1.0, domain: chat.acme.test} with your own"
        raise RenderError(Problem("plan.no-deploy", "deploy", "the Spec does not say what is deployed, and where", hint))
    return spec.deploy
