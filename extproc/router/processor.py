"""One decision: the bytes of a ProcessingRequest in, the bytes of its reply out. HOT.

Holds the present Snapshot and counts what it decided in plain integers; prometheus-client sees them only at scrape. The clock is
read on 1 decision in 64, and where the Spec names something that ends (a token, a signed header, a flag's date). The same Processor runs
under every transport.
"""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from time import perf_counter, time

from extproc import wire
from extproc.assign import Choice, Fate, Note, Snapshot, decide
from extproc.assign.snapshot import More
from extproc.domain import Assignment, Cookie

SAMPLE_EVERY = 64
"""One decision in so many is timed."""
DECISION_BUCKETS = (2e-6, 4e-6, 6e-6, 8e-6, 10e-6, 15e-6, 20e-6, 30e-6, 50e-6, 100e-6, 250e-6, 1e-3, 5e-3)
"""Upper bounds in seconds of the decision-time histogram: fine around the budget of 10 us."""
REQUEST_ID = "x-request-id"
_ID_BYTES = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.")
_LONGEST_ID = 128
_DIGEST = wire.HASH_DIGITS // 2

Key = tuple[str, str, str, str]
"""rollout, cohort, arm, reason."""


@dataclass(slots=True)
class DecisionTimes:
    """A histogram of sampled decision times; `buckets` has one count more than DECISION_BUCKETS, for everything above."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(DECISION_BUCKETS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.total += seconds
        for index, bound in enumerate(DECISION_BUCKETS):
            if seconds <= bound:
                self.buckets[index] += 1
                return
        self.buckets[-1] += 1


class Processor:
    """Bytes in, bytes out. `key` makes the units' hashes in the access log (never the ids themselves) unguessable."""

    def __init__(self, snapshot: Snapshot, key: bytes) -> None:
        self._keyed = blake2b(key, digest_size=_DIGEST)
        self._counted: dict[Key, int] = {}
        self._unfolded: list[tuple[tuple[Choice, ...], list[int]]] = []
        """Counts of earlier Snapshots: added up when somebody asks, not while requests wait."""
        self.fates: dict[tuple[str, str, str], int] = {}
        """(`token` or `qa`, rollout, fate) -> requests that brought one; `issued` tokens besides."""
        self._unmatched = 0
        self._untimed = SAMPLE_EVERY
        """Decisions until one is timed."""
        self.times = DecisionTimes()
        self._take(snapshot)

    @property
    def snapshot(self) -> Snapshot:
        """The Snapshot in use."""
        return self._snapshot

    def swap(self, snapshot: Snapshot) -> None:
        """Use another Snapshot from the next decision on; counts are kept."""
        self._unfolded.append((self._snapshot.choices, self._counts))
        self._take(snapshot)

    def decisions(self) -> dict[Key, int]:
        """Decisions so far by rollout, cohort, arm and reason."""
        self._fold()
        return dict(self._counted)

    @property
    def unmatched(self) -> int:
        """Requests that met no rollout in any layer."""
        return self._unmatched

    def process(self, message: bytes) -> bytes | None:
        """The reply to one ProcessingRequest, or None where Envoy expects none (observability mode).

        Raises google.protobuf.message.DecodeError on foreign bytes; the transport ends that stream alone.
        """
        self._untimed -= 1
        if not self._untimed:
            return self._timed(message)
        subject = wire.read_subject(message)
        if subject is None:
            return wire.matching_empty_reply(message)
        request_id = subject.get(REQUEST_ID)
        now = time() if self._needs_time else 0.0
        reply, hashed = b"", None
        for layer in self._layers:
            answer = decide(layer, subject, request_id, now)
            if answer is not None:
                choice, unit, durable, cookie, _, note = answer
                self._counts[choice.index] += 1
                if unit != hashed:  # most units are those of the layer before
                    # BLAKE2 behind a secret prefix is as good a keyed hash as its own keyed mode, and needs one block instead of two.
                    unit_hash = self._keyed.copy()
                    unit_hash.update(unit)
                    digest = hexlify(unit_hash.digest())
                    hashed = unit
                reply += (choice.durable_reply if durable else choice.transient_reply) + digest
                if choice.more:
                    reply += _more(choice.more, digest, durable, now)
                if cookie is not None:
                    reply += _cookie_reply(cookie, unit)
                if note is not None:
                    reply += self._noted(note)
        if not reply:
            self._unmatched += 1
            return wire.KEEP_ROUTE
        return reply

    def _timed(self, message: bytes) -> bytes | None:
        self._untimed = SAMPLE_EVERY + 1  # the call below is counted as well
        begin = perf_counter()
        reply = self.process(message)
        self.times.add(perf_counter() - begin)
        return reply

    def _noted(self, note: Note) -> bytes:
        """Count what is rare; the reply bytes that hand out a token, if one is to be handed out."""
        if note.fate is not Fate.NONE:
            self._count("token", note.rollout, note.fate.name.lower())
        if note.qa is not Fate.NONE:
            self._count("qa", note.rollout, note.qa.name.lower())
        if not note.token:
            return b""
        self._count("token", note.rollout, "issued")
        cookie = note.cookie
        return wire.encode_token(note.token, _cookie_text(cookie, note.token.decode()) if cookie is not None else "")

    def _count(self, *key: str) -> None:
        kind, rollout, fate = key
        self.fates[kind, rollout, fate] = self.fates.get((kind, rollout, fate), 0) + 1

    def _take(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._layers = snapshot.layers
        self._needs_time = snapshot.needs_time
        self._counts = [0] * len(snapshot.choices)

    def _fold(self) -> None:
        self._unfolded.append((self._snapshot.choices, self._counts))
        for choices, counts in self._unfolded:
            for choice, count in zip(choices, counts, strict=True):
                if count:
                    key = _key_of(choice.assignment)
                    self._counted[key] = self._counted.get(key, 0) + count
        self._unfolded = []
        self._counts = [0] * len(self._snapshot.choices)


Process = Callable[[bytes], bytes | None]
"""What a transport needs of a Processor."""


def _key_of(assignment: Assignment) -> Key:
    return assignment.rollout, assignment.cohort, assignment.arm.value, assignment.reason.value


def _more(more: More, digest: bytes, durable: bool, now: float) -> bytes:
    """The unit's hash as a header, the token that names the answer."""
    reply = wire.AFFINITY_PREFIX + digest if more.affinity else b""
    if more.stamp is not None:
        reply += wire.encode_feedback(more.stamp.sign(int(digest, 16), durable, int(now * 1e6)))
    return reply


def _cookie_reply(cookie: Cookie, unit: bytes) -> bytes:
    """The Set-Cookie that brings the anonymous unit back; nothing for an id that has no place in a cookie (internal listeners only)."""
    if len(unit) > _LONGEST_ID or not _ID_BYTES.issuperset(unit):
        return b""
    return wire.encode_cookie(_cookie_text(cookie, unit.decode()))


def _cookie_text(cookie: Cookie, value: str) -> str:
    return f"{cookie.name}={value}; Max-Age={cookie.max_age}; {cookie.attributes}"
