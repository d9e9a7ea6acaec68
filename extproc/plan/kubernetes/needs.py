"""What a Spec must say for manifests, told all at once and before anything is made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from extproc.domain import Deploy, Infrastructure, OnFailure, Overlay, Spec
from extproc.errors import Problem
from extproc.plan.kubernetes.documents import deploy_of
from extproc.plan.kubernetes.mounts import databases, files_of_all, keys_of_all, problems_of_files
from extproc.render.settings import RenderError, routed_models

_CORE: Final = (Overlay.ISTIO, Overlay.ENVOY_GATEWAY)
"""Overlays on an Envoy that others build: 1.36 and newer is what we rely on there."""


def refuse_what_is_missing(spec: Spec) -> Deploy:
    """The Spec's `deploy`; raises RenderError with everything that keeps manifests from being made."""
    deploy = deploy_of(spec)
    problems = [*_endpoints(spec), *_databases(spec, deploy), *problems_of_files(files_of_all(spec)), *_overlays(spec, deploy)]
    if spec.application.infrastructure is Infrastructure.CLOUD_RUN:
        problems += _cloud_run(spec, deploy)
    if problems:
        raise RenderError(problems)
    return deploy


def _endpoints(spec: Spec) -> Iterator[Problem]:
    for model in routed_models(spec):
        if any(not backend.endpoints for backend in model.backends):
            hint = "add its endpoint: the manifests' Envoy has no other configuration"
            yield Problem("plan.no-endpoint", f"models.{model.name}", "has no endpoint", hint)


def _databases(spec: Spec, deploy: Deploy) -> Iterator[Problem]:
    found = databases(spec)
    if not found:
        return
    if spec.application.infrastructure is Infrastructure.CLOUD_RUN:
        hint = "let the load balancer set the geo headers, and name them in listener.set_by"
        yield Problem("plan.geoip", "listener.geoip", "there is no volume for databases on Cloud Run", hint)
    elif not deploy.databases:
        hint = "name the PersistentVolumeClaim that holds them: deploy: {databases: geoip}"
        yield Problem("plan.geoip", "deploy.databases", f"nobody brings {found[0]} into Envoy's pod", hint)
    if len({path.rpartition("/")[0] for path in found}) > 1:
        yield Problem("plan.geoip", "listener.geoip", "its databases are in several directories", "put them into one")


def _overlays(spec: Spec, deploy: Deploy) -> Iterator[Problem]:
    if Overlay.SCALED in deploy.overlays and spec.judge is not None:
        message = "copies for the judge never leave a machine, and in overlay scaled Envoy is on another one"
        yield Problem("plan.scaled-judge", "deploy.overlays", message, "leave scaled out, or the judge")
    failing = [one.name for one in spec.rollouts.values() if one.on_canary_failure is OnFailure.STABLE]
    for overlay in _CORE:
        if overlay in deploy.overlays and failing:
            message = (
                f"rollout {failing[0]} lets stable answer for the canary, which needs Envoy 1.40; overlay {overlay.value} promises 1.36"
            )
            yield Problem("plan.core", "deploy.overlays", message, f"leave {overlay.value} out, or write on_canary_failure: answer")


def _cloud_run(spec: Spec, deploy: Deploy) -> Iterator[Problem]:
    if not deploy.backup_bucket:
        hint = "name a bucket: deploy: {backup_bucket: acme-extproc}"
        yield Problem("plan.backup", "deploy.backup_bucket", "an instance's disk is gone when it ends, and State with it", hint)
    if deploy.models:
        message = "models that you serve yourself are not on Cloud Run"
        yield Problem("plan.models", "deploy.models", message, "name their endpoints only")
    files = files_of_all(spec)
    if files:
        hint = "give credentials by env, from Secret Manager"
        yield Problem("plan.files", "deploy", f"{sorted(files)[0]} would have to be in the image", hint)
    for name in keys_of_all(spec):
        if name == "PORT":
            yield Problem("plan.port", "models", "PORT belongs to Cloud Run", "give the credential another name")
