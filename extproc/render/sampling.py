"""Copies for the judge: a second ext_proc filter that only looks on, and only on some requests.

Which ones is decided by Envoy, before there is an answer, with the same probability for canary and control, once the ring has decided: a
composite filter matches on the assignment, and then tosses a coin. Nobody else's request meets the filter at all. In observability mode
Envoy sends copies and waits for nothing (seen on 1.40, and on 1.36.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from extproc import contract
from extproc.domain import COMPARED_ARMS, Reason, Spec
from extproc.render.yamltext import Block, typed

SAMPLE: Final = "extproc.sample"
_NAMESPACE: Final = contract.assignment_namespace(contract.MODEL_LAYER)
MILLION: Final = 1_000_000
MOST_COPIED: Final = 256
"""Requests that may be copied at once; Envoy holds what the sampler has not taken yet, so this bounds its memory as well."""
LINGER: Final = "1s"
"""For so long a copy's stream may stay open after its request: time to send what is left."""


def samples(spec: Spec) -> bool:
    """True where requests are copied."""
    return spec.judge is not None and any(rollout.judging is not None for rollout in spec.rollouts.values())


def sampling_filter(spec: Spec) -> Block:
    """The composite filter; before it stands the decision."""
    assert spec.judge is not None
    fraction = {
        "runtime_key": contract.RUNTIME_SAMPLE,
        "default_value": {"numerator": round(spec.judge.sample * MILLION), "denominator": "MILLION"},
    }
    judged = [name for name, rollout in spec.rollouts.items() if rollout.judging is not None]
    conditions = [
        _is(contract.FIELD_REASON, (Reason.RING.value,)),
        _is(contract.FIELD_ARM, [arm.value for arm in COMPARED_ARMS]),
        _is(contract.FIELD_ROLLOUT, judged),
    ]
    matchers = [_copied(conditions, {"sample_percent": fraction})]
    shadowed = [name for name in judged if spec.rollouts[name].shadow is not None]
    if shadowed:
        # Both answers of a pair are copied, or neither: no coin is tossed here.
        matchers.append(_copied([_is(contract.FIELD_REASON, (Reason.SHADOW.value,)), _is(contract.FIELD_ROLLOUT, shadowed)], {}))
    matcher = {"matcher_list": {"matchers": matchers}}
    config = {
        "@type": "type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher",
        "extension_config": {"name": "envoy.filters.http.composite", "typed_config": typed("filters.http.composite.v3.Composite")},
        "xds_matcher": matcher,
    }
    return {"name": SAMPLE, "typed_config": config}


def _copied(conditions: Sequence[Block], coin: Block) -> Block:
    """Requests of which all of this is so are copied, where the coin says so."""
    action = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.composite.v3.ExecuteFilterAction",
        "typed_config": {"name": SAMPLE, "typed_config": copying([_NAMESPACE])},
        **coin,
    }
    predicate = {"and_matcher": {"predicate": list(conditions)}}
    return {"predicate": predicate, "on_match": {"action": {"name": SAMPLE, "typed_config": action}}}


def copying(namespaces: Sequence[str]) -> Block:
    """Looks on: bodies piece by piece, and of the headers those that say how to read them. No credential is copied. `namespaces`: metadata
    that says what it is a copy of."""
    modes = {
        "request_header_mode": "SEND",
        "response_header_mode": "SEND",
        "request_body_mode": "STREAMED",
        "response_body_mode": "STREAMED",
        "request_trailer_mode": "SKIP",
        "response_trailer_mode": "SKIP",
    }
    names = (":path", ":status", "content-type", "content-encoding", contract.REQUEST_ID_HEADER)
    return typed(
        "filters.http.ext_proc.v3.ExternalProcessor",
        grpc_service={"envoy_grpc": {"cluster_name": contract.SAMPLER_CLUSTER, "skip_envoy_headers": True}},
        stat_prefix="sample",
        observability_mode=True,
        deferred_close_timeout=LINGER,
        failure_mode_allow=True,
        processing_mode=modes,
        forward_rules={"allowed_headers": {"patterns": [{"exact": name} for name in names]}},
        metadata_options={"forwarding_namespaces": {"untyped": list(namespaces)}},
    )


def _is(field: str, values: Sequence[str]) -> Block:
    """A matcher: this field of the assignment is one of these."""
    source: Any = {
        "name": field,
        "typed_config": typed(
            "matching.common_inputs.network.v3.DynamicMetadataInput",
            filter=_NAMESPACE,
            path=[{"key": field}],
        ),
    }
    matchers: list[Block] = [{"string_match": {"exact": value}} for value in values]
    value = matchers[0] if len(matchers) == 1 else {"or_match": {"value_matchers": matchers}}
    equals = {"name": field, "typed_config": typed("matching.input_matchers.metadata.v3.Metadata", value=value)}
    return {"single_predicate": {"input": source, "custom_match": equals}}
