"""LaunchDarkly's own bucketing: which variation of a rollout a context gets, and the same as a point on our ring.

bucket = the first 60 bits of SHA-1 over `<prefix>.<value>` as a float in [0, 1], where the prefix is the rollout's seed, or
`<flag key>.<salt>` where it has none (for a segment's rule `<segment key>.<salt>`), and the value the context's key or the attribute that
`bucketBy` names. A bucket is in the first share whose running sum, in floats as the SDK adds them, lies above it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from hashlib import sha1
from typing import Final

from extproc.domain import ring_length
from extproc.flags.flag import Attributes
from extproc.flags.launchdarkly.reading import TYPE_HINT, Node
from extproc.flags.launchdarkly.reference import DEFAULT_KIND, Getter, getter

WEIGHT_OF_ALL: Final = 100_000
"""Weights are thousandths of a percent."""
_SCALE: Final = float(1 << 60)
_NEAR: Final = 1e-4
"""Part of a step: four points of our ring, far more than any rounding. Farther from an edge than this there is nothing to correct."""
_OTHER_KIND: Final = -1.0
"""Bucket of a context of another kind: below every share, even one of weight 0."""
_NO_VALUE: Final = 0.0
"""Bucket where there is nothing to hash: in the first share that is not empty."""

Bucket = Callable[[Attributes, str], float]
"""(attributes, kind of the context) -> bucket. Raises ValueError for text that is no Unicode, as the SDK does."""
Pick = Callable[[Attributes, str], int]
"""(attributes, kind of the context) -> index of a variation."""


def point_of(seed: str) -> Callable[[bytes], int]:
    """LaunchDarkly's bucket as a point: point < ring_length(p) exactly where a rollout whose first share is p includes the id.

    seed: a rollout's `seed` in decimal digits, else `<flag key>.<salt>`. p: every share that LaunchDarkly can express, that is steps of
    0.001 % (weights out of 100,000). Between two such shares the order of buckets is kept. Bytes that are no UTF-8 are hashed as they
    are (no context of LaunchDarkly holds them); an empty id has a point here and is no context there.
    """
    prefix = f"{seed}.".encode()

    def point(unit: bytes) -> int:
        return point_of_bits(_bits(prefix + unit))

    return point


def point_of_bits(bits: int) -> int:
    """The ring's point for the 60 bits of a hash: their top 32, kept on the right side of every share that a weight can express."""
    bucket = bits / _SCALE
    steps = bucket * WEIGHT_OF_ALL
    if _NEAR < steps - int(steps) < 1.0 - _NEAR:
        return bits >> 28
    # The last bucket is 1.0, after rounding; it is in a share of all.
    step = min(int(steps), WEIGHT_OF_ALL - 1)
    # This product is rounded, and so is the SDK's quotient, each in its own way: they may differ by one step at an edge.
    if bucket < step / WEIGHT_OF_ALL:
        step -= 1
    elif bucket >= (step + 1) / WEIGHT_OF_ALL and step + 1 < WEIGHT_OF_ALL:
        step += 1
    least = ring_length(step / WEIGHT_OF_ALL)
    below = ring_length((step + 1) / WEIGHT_OF_ALL)
    return min(max(bits >> 28, least), below - 1)


def _bits(text: bytes) -> int:
    return int.from_bytes(sha1(text, usedforsecurity=False).digest()[:8], "big") >> 4


def bucket_of(node: Node, prefix: str, by: str | None, kind: str | None) -> Bucket:
    """Buckets of a rollout or a segment's rule; `by` is its bucketBy, `kind` the kind of context that it is about."""
    get = getter(node, "bucketBy", by or "key", bool(kind))
    try:
        start = f"{prefix}.".encode()
    except UnicodeEncodeError:
        node.refuse("malformed", "", f"it is hashed with {prefix!r}, which is no Unicode text", TYPE_HINT)
        start = b""
    return _bucket(start, get, kind or DEFAULT_KIND) if get is not None else lambda _attributes, _kind: _NO_VALUE


def _bucket(prefix: bytes, get: Getter, wanted: str) -> Bucket:
    def bucket(attributes: Attributes, kind: str) -> float:
        if kind != wanted:
            return _OTHER_KIND
        value = get(attributes, kind)
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            return _NO_VALUE
        return _bits(prefix + str(value).encode()) / _SCALE

    return bucket


def served(node: Node, flag_key: str, salt: str, variations: int) -> Pick:
    """What a rule or the fallthrough serves: one variation, or a rollout."""
    if node.data.get("variation") is not None:
        index = variation(node, variations)
        return lambda _attributes, _kind: index
    rollout = node.node("rollout")
    if rollout is None:
        if node.data.get("rollout") is None:
            node.refuse("malformed", "", "it serves neither a variation nor a rollout", TYPE_HINT)
        return lambda _attributes, _kind: 0
    return _rollout(rollout, flag_key, salt, variations)


def variation(node: Node, variations: int, name: str = "variation") -> int:
    """An index of one of the flag's variations."""
    index = node.integer(name, required=True)
    if index is not None and not 0 <= index < variations:
        node.refuse("bad-variation", name, f"there is no variation {index}", f"the flag has {variations} variations, counted from 0")
    return index or 0


def weight(node: Node, *, required: bool) -> int | None:
    """A share in thousandths of a percent."""
    given = node.integer("weight", required=required)
    if given is not None and not 0 <= given <= WEIGHT_OF_ALL:
        node.refuse("malformed", "weight", f"must lie between 0 and {WEIGHT_OF_ALL}, not {given}", TYPE_HINT)
        return 0
    return given


def _rollout(node: Node, flag_key: str, salt: str, variations: int) -> Pick:
    kind, seed = node.text("kind") or "rollout", node.integer("seed")
    if kind not in ("rollout", "experiment"):
        node.refuse("unsupported-rollout", "kind", f"the kind of rollout {kind!r} is not known", "known: experiment, rollout")
    prefix = f"{flag_key}.{salt}" if seed is None else str(seed)
    # An experiment always hashes the key, whatever bucketBy says. Which of its shares are tracked changes no answer.
    by = node.text("bucketBy") if kind == "rollout" else None
    bucket = bucket_of(node, prefix, by, node.text("contextKind"))
    sums, picks, total = [], [], 0.0
    for share in node.nodes("variations", required=True):
        total += (weight(share, required=True) or 0) / WEIGHT_OF_ALL
        sums.append(total)
        picks.append(variation(share, variations))
    if not picks:
        node.refuse("malformed", "variations", "a rollout needs at least one share", TYPE_HINT)
        return lambda _attributes, _kind: 0
    # Weights may sum to less than all: whoever lies beyond gets the last share.
    picks.append(picks[-1])
    return lambda attributes, kind: picks[bisect_right(sums, bucket(attributes, kind))]
