"""Requests of one conversation on one replica: what Envoy's ring-hash and maglev balancers hash.

Not the header itself: where a cluster is defined elsewhere, the route takes it away, before the balancer is asked (seen: the requests were
spread); and a second attempt would have none. So a filter behind the decision remembers it. The core profile has only the header: Envoy
1.36 has no filter state that can be hashed (seen).
"""

from __future__ import annotations

from typing import Final

from extproc import contract
from extproc.domain import Affinity, Spec
from extproc.render.settings import Profile, routed_models
from extproc.render.yamltext import Block, typed

STATE: Final = "extproc.affinity."
"""Filter state: what a header said, by the header's name."""


def affinity_headers(spec: Spec) -> tuple[str, ...]:
    """Headers that keep requests on a replica, sorted."""
    return tuple(sorted({_header(model.affinity) for model in routed_models(spec) if model.affinity is not None}))


def affinity_filter(spec: Spec) -> Block:
    """Remembers what these headers say; a request without one goes to any replica."""
    values = [
        {
            "object_key": STATE + header,
            "factory_key": "envoy.hashable_string",
            "format_string": {"text_format_source": {"inline_string": f"%REQ({header})%"}, "omit_empty_values": True},
            "skip_if_empty": True,
        }
        for header in affinity_headers(spec)
    ]
    config = typed("filters.http.set_filter_state.v3.Config", on_request_headers=values)
    return {"name": "extproc.affinity", "typed_config": config}


def hash_policy(affinity: Affinity | None, profile: Profile) -> Block:
    """The part of a route's action that names what is hashed; nothing where replicas are alike."""
    if affinity is None:
        return {}
    if profile is Profile.CORE:
        return {"hash_policy": [{"header": {"header_name": _header(affinity)}}]}
    return {"hash_policy": [{"filter_state": {"key": STATE + _header(affinity)}}]}


def _header(affinity: Affinity) -> str:
    return affinity.header or contract.AFFINITY_HEADER
