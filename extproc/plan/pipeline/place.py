"""Where things are: names on which the pipeline's files agree."""

from __future__ import annotations

from typing import Final

from extproc.domain import Credential, Spec
from extproc.plan.pipeline.course import plain

SPEC: Final = "release.yaml"
"""The Spec in the repository, unless EXTPROC_SPEC says otherwise; `extproc init` writes it there."""
FOLDER: Final = "release"
"""The release folder in the repository, unless EXTPROC_PLAN says otherwise."""
RUNNER: Final = "extproc"
"""Label of runners that have the command `extproc`, and reach the controller's API."""
SECRET: Final = "extproc-api"
"""Kubernetes Secret with the address and the token of the controller's API, under these keys. The API listens on loopback: at which address
somebody else's pods reach it is known to whoever lets them."""
ADDRESS_KEY: Final = "address"
TOKEN_KEY: Final = "token"


def namespace(spec: Spec) -> str:
    """Kubernetes namespace of the application."""
    return spec.deploy.namespace if spec.deploy is not None else plain(spec.application.name)


def judged(spec: Spec) -> tuple[str, ...]:
    """Rollouts whose canary can answer a golden set: both variants are models, and the Spec has a judge."""
    if spec.judge is None or not spec.judge.endpoints:
        return ()
    return tuple(one.name for one in spec.rollouts.values() if one.stable in spec.models and one.canary in spec.models)


def judge_secrets(spec: Spec) -> tuple[str, ...]:
    """Environment variables with the keys that the offline judge needs, sorted: its own, and those of the models that it asks."""
    rollouts = [spec.rollouts[name] for name in judged(spec)]
    models = [spec.models[name] for one in rollouts for name in (one.stable, one.canary)]
    found: list[Credential | None] = [model.credential for model in models]
    found += [endpoint.credential for endpoint in spec.judge.endpoints] if spec.judge is not None else []
    return tuple(sorted({one.env for one in found if one is not None and one.env is not None}))
