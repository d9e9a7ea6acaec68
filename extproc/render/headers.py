"""Which request headers Envoy strips at the door and keeps from the models; `domain.reading` says which ones a decision looks at."""

from __future__ import annotations

from typing import Final

from extproc import contract
from extproc.domain import ListenerKind, SourceKind, Spec, identity_headers
from extproc.render.affinity import affinity_headers
from extproc.render.identity import looked_up

FORWARDING_HEADERS: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto")
"""Who the client is and how it came: nothing that a model has to know."""


def stripped_at_the_door(spec: Spec) -> tuple[str, ...]:
    """Identity headers that only Envoy itself may set, sorted. x-llm-* goes besides, as a prefix; what is signed stays."""
    listener = spec.listener
    stripped = set(identity_headers(spec)) - set(listener.set_by) if listener.kind is ListenerKind.EDGE else set()
    # A miss of the geoip filter leaves the header as it came (seen on 1.40).
    return tuple(sorted(stripped | set(looked_up(spec).values())))


def kept_from_models(spec: Spec) -> tuple[str, ...]:
    """Headers by name that no model gets to see: ours, what identifies the user or the conversation, and the client's own credentials."""
    layers = sorted({rollout.layer for rollout in spec.rollouts.values()} - {contract.MODEL_LAYER})
    ours = [contract.CLUSTER_HEADER, *(contract.VARIANT_PREFIX + layer for layer in layers)]
    known = {*identity_headers(spec), *spec.identity.geo, spec.identity.tier_header, *affinity_headers(spec), *_of_conversations(spec)}
    known |= {rollout.overrides.qa_header for rollout in spec.rollouts.values() if rollout.overrides.qa_secret is not None}
    return (*ours, *sorted(known), "cookie", *_client_credentials(spec), *FORWARDING_HEADERS)


def _of_conversations(spec: Spec) -> set[str]:
    """Tokens and ids."""
    found: set[str | None] = set()
    for conversation in (rollout.conversation for rollout in spec.rollouts.values()):
        if conversation is not None:
            found.add(conversation.header)
            if conversation.id is not None and conversation.id.kind is SourceKind.HEADER:
                found.add(conversation.id.name)
    return {name for name in found if name is not None}


def _client_credentials(spec: Spec) -> list[str]:
    """Headers in which clients send keys and tokens: API-key sources, verified tokens, and where a model has a key of its own, every
    header that carries one."""
    names = {source.name for rollout in spec.rollouts.values() for source in rollout.unit.sources if source.kind is SourceKind.API_KEY}
    carrying = {model.credential.header for model in spec.models.values() if model.credential is not None}
    return sorted(names | carrying | ({"authorization"} if carrying or spec.listener.jwt is not None else set()))
