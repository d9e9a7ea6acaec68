"""One exposure: as the list shows it, and as the columns that it is kept in.

A request id that is a UUID, and a unit's hash, are kept as 16 and 8 bytes; what is none of these as the text that it is. What many
requests share (rollout, phase, cohort, model ...) is a *kind*, written once. A line takes about 75 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from extproc.domain import Outcome, Undecided

UNDECIDED: Final = "undecided"
"""The reason of a request that no router decided, and that a canary's backend answered."""
LONGEST_TEXT: Final = 300
"""Characters that are kept of a text that somebody else chose: a model's name, a request's id."""
_LARGEST: Final = (1 << 63) - 1
"""SQLite's integers have 64 bits; a number beyond is nonsense, and must not cost its neighbours."""
_HASH_DIGITS: Final = 16
_MICROSECONDS: Final = 1_000_000

Kind = tuple[str, int, str, str, str, str, str, str]
"""rollout, generation, phase, cohort, arm, reason, answered_by, model."""
Row = tuple[
    bytes | str, int | str | None, bool, int, int | None, int | None, bool, bool, bool, int | None, int | None, int | None, int | None
]
"""request, unit, durable, start (microseconds), lasted (microseconds; None: its end was never heard of), status, failed, client_aborted,
throttled, and tokens: input, cached, output, reasoning."""


class Exposure(NamedTuple):
    """One line of the list. The fields are its columns, in this order."""

    rollout: str
    attempt: int | None
    """None where the Journal could not be asked."""
    generation: int
    phase: str
    cohort: str
    arm: str
    reason: str
    """Why the canary was met: `ring`, `completed`, `pinned`, `override`, `forced`, or `undecided`."""
    request: str
    """The request's id, as in Envoy's own logs."""
    unit: str
    """Keyed hash, 16 hex digits; empty where nobody decided."""
    id: str
    """The unit itself, where the asker has named it; else empty."""
    durable: bool
    """False: a unit that may never be seen again."""
    start: float
    """Unix seconds."""
    seconds: float | None
    """From start to end; None where the end was not heard of."""
    ended: bool
    status: int | None
    failed: bool
    client_aborted: bool
    throttled: bool
    answered_by: str
    """Envoy's cluster."""
    model: str
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None


@dataclass(frozen=True, slots=True)
class Stray:
    """A request that no router decided, answered by a backend of this rollout's canary while State stood there."""

    undecided: Undecided
    rollout: str
    generation: int
    phase: str


# --------------------------------------------------------------------------------------------------------------------- to columns
def kind_of(outcome: Outcome) -> Kind:
    """What it shares with others."""
    return (
        outcome.rollout,
        _bounded(outcome.generation),
        outcome.phase,
        outcome.cohort,
        outcome.arm.value,
        outcome.reason.value,
        outcome.answered_by,
        outcome.model[:LONGEST_TEXT],
    )


def row_of(outcome: Outcome) -> Row:
    """What is its own. Of a request that is still open nothing is known of its end."""
    final = outcome.final
    return (
        packed_request(outcome.stream_id),
        packed_unit(outcome.unit),
        outcome.durable,
        _bounded(round(outcome.start * _MICROSECONDS)),
        _bounded(round(outcome.duration * _MICROSECONDS)) if final else None,
        outcome.status if final else None,
        outcome.failed,
        outcome.client_aborted,
        outcome.throttled,
        _count(outcome.input_tokens),
        _count(outcome.cached_tokens),
        _count(outcome.output_tokens),
        _count(outcome.reasoning_tokens),
    )


def stray_kind(stray: Stray) -> Kind:
    """The kind of a request without a decision."""
    one = stray.undecided
    return stray.rollout, stray.generation, stray.phase, "", "", UNDECIDED, one.answered_by, one.model[:LONGEST_TEXT]


def stray_row(stray: Stray) -> Row:
    """Its row: there is no unit."""
    one = stray.undecided
    return (
        packed_request(one.stream_id),
        None,
        False,
        _bounded(round(one.start * _MICROSECONDS)),
        _bounded(round(one.duration * _MICROSECONDS)),
        one.status,
        one.failed,
        one.client_aborted,
        one.throttled,
        _count(one.input_tokens),
        _count(one.cached_tokens),
        _count(one.output_tokens),
        _count(one.reasoning_tokens),
    )


def columns_of(line: Exposure) -> tuple[Kind, Row]:
    """Of a line that was read; `exposure_of` gives it back, but for the attempt and the name of its unit."""
    kind = line.rollout, line.generation, line.phase, line.cohort, line.arm, line.reason, line.answered_by, line.model
    lasted = None if line.seconds is None else _bounded(round(line.seconds * _MICROSECONDS))
    row = (
        packed_request(line.request),
        packed_unit(line.unit) if line.unit else None,
        line.durable,
        _bounded(round(line.start * _MICROSECONDS)),
        lasted,
        line.status,
        line.failed,
        line.client_aborted,
        line.throttled,
        line.input_tokens,
        line.cached_tokens,
        line.output_tokens,
        line.reasoning_tokens,
    )
    return kind, row


def packed_request(text: str) -> bytes | str:
    """16 bytes of a UUID as Envoy writes it, else the text."""
    if len(text) == 36 and text[8] == text[13] == text[18] == text[23] == "-":
        raw = _hex(text.replace("-", ""), 32)
        if raw:
            return raw
    return text[:LONGEST_TEXT]


def packed_unit(text: str) -> int | str:
    """A unit's hash as a number, else the text."""
    raw = _hex(text, _HASH_DIGITS)
    return int.from_bytes(raw, "big", signed=True) if raw else text[:LONGEST_TEXT]


def _hex(text: str, digits: int) -> bytes:
    """The bytes of so many lower-case hex digits, nothing for anything else."""
    if len(text) != digits or text != text.lower():
        return b""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return b""
    # Spaces are passed over by `fromhex`.
    return raw if len(raw) * 2 == digits else b""


def _bounded(number: int) -> int:
    return number if -_LARGEST <= number <= _LARGEST else _LARGEST if number > 0 else -_LARGEST


def _count(number: int | None) -> int | None:
    return None if number is None else _bounded(number)


# ------------------------------------------------------------------------------------------------------------------- from columns
def request_text(packed: bytes | str) -> str:
    """What `packed_request` was given."""
    if isinstance(packed, str):
        return packed
    digits = packed.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def unit_text(packed: int | str | None) -> str:
    """What `packed_unit` was given; empty where there is none."""
    if isinstance(packed, int):
        return packed.to_bytes(_HASH_DIGITS // 2, "big", signed=True).hex()
    return packed or ""


def exposure_of(kind: Kind, attempt: int | None, row: Row, known: str | None) -> Exposure:
    """A line of the list."""
    rollout, generation, phase, cohort, arm, reason, answered_by, model = kind
    request, unit, durable, start, lasted, status, failed, client_aborted, throttled, *tokens = row
    return Exposure(
        rollout,
        attempt,
        generation,
        phase,
        cohort,
        arm,
        reason,
        request_text(request),
        unit_text(unit),
        known or "",
        bool(durable),
        start / _MICROSECONDS,
        lasted / _MICROSECONDS if lasted is not None else None,
        lasted is not None,
        status,
        bool(failed),
        bool(client_aborted),
        bool(throttled),
        answered_by,
        model,
        *tokens,
    )
