"""What keeps a configuration from being made, said before Envoy would say it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from extproc import contract
from extproc.domain import Spec
from extproc.errors import Problem
from extproc.render.failover import fails_over
from extproc.render.identity import JWKS_CLUSTER
from extproc.render.settings import Profile, RenderError, routed_models

RESERVED: Final = (contract.ROUTER_CLUSTER, contract.COLLECTOR_CLUSTER, contract.XDS_CLUSTER, contract.TRACES_CLUSTER, JWKS_CLUSTER)


def refuse_what_cannot_work(spec: Spec, profile: Profile, snippet: bool, discovered: bool = False) -> None:
    """Raise RenderError with everything that keeps a configuration from being made. `discovered`: it is served over xDS."""
    problems = [*_models(spec, snippet, discovered), *_failover(spec, profile), *_conversations(spec)]
    if problems:
        raise RenderError(problems)


def _models(spec: Spec, snippet: bool, discovered: bool) -> Iterator[Problem]:
    for model in routed_models(spec):
        path = f"models.{model.name}"
        for backend in model.backends:
            if backend.cluster in RESERVED:
                message = f"cluster {backend.cluster!r} is extproc's own"
                yield Problem("render.reserved-cluster", path, message, "give the model another cluster name")
        elsewhere = [backend.cluster for backend in model.backends if not backend.ours]
        if not discovered and any(backend.slices is not None for backend in model.backends):
            hint = "let the controller tell Envoy (render bootstrap, controller --xds), or write endpoints"
            yield Problem(
                "render.endpoint-slices", path, "its endpoints are in a file of the controller's: no file of Envoy's can have them", hint
            )
        if elsewhere and not snippet:
            what = f"cluster {elsewhere[0]!r} of its pool has" if len(model.backends) > 1 else "has"
            message = f"{what} no endpoint, and a whole configuration needs one"
            yield Problem("render.no-endpoint", path, message, "add an endpoint, or render --snippet for your own Envoy")
        elif elsewhere and model.credential is not None:
            message = "has a credential and no endpoint: the key belongs to a cluster that is defined elsewhere"
            yield Problem("render.credential-elsewhere", path, message, "add an endpoint, or put the key into your own cluster")


def _failover(spec: Spec, profile: Profile) -> Iterator[Problem]:
    for rollout in spec.rollouts.values():
        if not fails_over(rollout):
            continue
        path = f"rollouts.{rollout.name}.on_canary_failure"
        if profile is Profile.CORE:
            message = "stable cannot answer for the canary in the core profile: Envoy 1.36 retries in the same cluster"
            yield Problem("render.failover-core", path, message, "render --profile full for Envoy 1.40, or write on_canary_failure: answer")
        for name in (rollout.stable, rollout.canary):
            if any(not backend.ours for backend in spec.models[name].backends):
                message = f"the cluster of model {name!r} is defined elsewhere, and its filters would have to write host, path and body"
                yield Problem("render.failover-elsewhere", path, message, "add its endpoint, or write on_canary_failure: answer")


def _conversations(spec: Spec) -> Iterator[Problem]:
    """Envoy is told a token, not the name of its header: there can be one."""
    named = {one.name: one.conversation.header for one in spec.rollouts.values() if one.conversation is not None}
    headers = sorted({header for header in named.values() if header is not None})
    if len(headers) > 1:
        last = next(name for name in reversed(named) if named[name] is not None)
        message = f"conversation tokens would be handed out in several headers: {', '.join(headers)}"
        hint = "give all rollouts the same header; a token says itself which rollout it is of"
        yield Problem("render.conversation-headers", f"rollouts.{last}.conversation.header", message, hint)
