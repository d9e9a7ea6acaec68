"""Manifests for Kubernetes and Cloud Run, made from a Spec with a `deploy` block.

    kubernetes/base/            what every way to run it shares; models that we serve ourselves, in two colours
    kubernetes/overlays/<name>  Envoy, router and controller together: a whole kustomization each
    kubernetes/switch/          the Service of a served model, once for each colour
    cloud-run/                  one service with its sidecars

Envoy's configuration is what `extproc render envoy` makes. State lives in SQLite on one volume, so there is one controller, and its
routers are in its pod: every overlay is built around that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from extproc.domain import Infrastructure, Overlay, Spec
from extproc.plan.kubernetes import cloud_run, edge, gateway, istio, scaled, sidecar
from extproc.plan.kubernetes.base import RELEASE, base
from extproc.plan.kubernetes.documents import Files
from extproc.plan.kubernetes.models import served, switches
from extproc.plan.kubernetes.needs import refuse_what_is_missing

__all__ = ["files", "spec_paths"]

_OVERLAYS: Final[dict[Overlay, Callable[[Spec], Files]]] = {
    Overlay.EDGE: edge.files,
    Overlay.SIDECAR: sidecar.files,
    Overlay.SCALED: scaled.files,
    Overlay.ISTIO: istio.files,
    Overlay.ENVOY_GATEWAY: gateway.files,
}


def files(spec: Spec) -> dict[str, str]:
    """Path inside the folder -> text; nothing for a virtual machine. Raises RenderError with everything that the Spec lacks for it."""
    match spec.application.infrastructure:
        case Infrastructure.VM:
            return {}
        case Infrastructure.CLOUD_RUN:
            deploy = refuse_what_is_missing(spec)
            return cloud_run.files(spec, deploy)
        case Infrastructure.KUBERNETES:
            deploy = refuse_what_is_missing(spec)
            models = served(spec)
            written = base(spec, models) | switches(spec)
            for overlay in deploy.overlays:
                made = _OVERLAYS[overlay](spec)
                written |= {f"kubernetes/overlays/{overlay.value}/{name}": text for name, text in made.items()}
            return written


def spec_paths(spec: Spec) -> tuple[str, ...]:
    """Where the folder must hold the Spec itself (a bundle of it and the files that it names) for these files to work."""
    match spec.application.infrastructure:
        case Infrastructure.VM:
            return ()
        case Infrastructure.CLOUD_RUN:
            return (f"cloud-run/{RELEASE}",)
        case Infrastructure.KUBERNETES:
            return (f"kubernetes/base/{RELEASE}",)
