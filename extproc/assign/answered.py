"""The signed token of an answer: who was answered, by which arm, when. HOT where it is made (once per answer), cold where it is read.

In binary, then base64url without padding; names are packed three characters to two bytes, so that the longest take 172 characters:

    1 byte   version, 1                       8 bytes  unit
    1 byte   arm                              8 bytes  start, microseconds
    4 bytes  generation                       16 bytes HMAC-SHA256 of all that, its first half
    6n bytes rollout, zero, cohort            (all numbers big-endian)
    1 byte   durable

What stands before `durable` is the same for all answers of a cohort's arm: `Stamp` makes it once, and a multiple of three bytes long, so
that its base64 is ready too. A token is signed and not hidden: whoever decodes it learns the names of rollout and cohort and the arm.
It can be read for as long as the reader's window says. Keys are rotated by giving the new one first: it signs, all of them read.
"""

from __future__ import annotations

import hmac
from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b, sha256
from struct import Struct
from typing import Final

from extproc.domain import Answered, Arm

LONGEST: Final = 200
"""Characters of a token; longer ones are not looked at."""
CLOCKS: Final = 60.0
"""Seconds by which a router's clock may be ahead of the reader's."""
_VERSION: Final = 1
_TAG: Final = 16
_HEAD: Final = Struct(">BBI")
_TAIL: Final = Struct(">BQQ")
_ARMS: Final = (Arm.CANARY, Arm.CONTROL, Arm.REST)
_LETTERS: Final = "\0abcdefghijklmnopqrstuvwxyz0123456789._-"
"""What names of a Spec are made of; the first one ends a name."""
_CODES: Final = {letter: code for code, letter in enumerate(_LETTERS)}
_GROUP: Final = 9
"""Letters are filled up to a multiple of this: six bytes."""
_BLOCK: Final = 64
"""Bytes of a block of SHA-256: RFC 2104."""
_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_PLAIN: Final = bytes.maketrans(b"-_", b"+/")


class Seen(IntEnum):
    """What became of a token."""

    VALID = 0
    FORGED = 1
    EXPIRED = 2
    """Its answer is older than the window."""
    EARLY = 3
    """Its answer is yet to come: somebody's clock is wrong."""


@dataclass(frozen=True, slots=True)
class Read:
    """What became of it, and what it says; nothing where it was forged."""

    seen: Seen
    answered: Answered | None


_FORGED: Final = Read(Seen.FORGED, None)


class Stamp:
    """Signs the answers of one arm of one cohort; made when a Snapshot is, used for each request."""

    def __init__(self, key: bytes, rollout: str, generation: int, cohort: str, arm: Arm) -> None:
        """Raises ValueError where a name has letters that names do not have, or the generation does not fit."""
        if not 0 <= generation < 1 << 32:
            raise ValueError("a generation has 32 bits")
        head = _HEAD.pack(_VERSION, _ARMS.index(arm), generation) + _packed(rollout, cohort)
        self._text = b2a_base64(head, newline=False).translate(_SAFE)
        padded = _padded(key)
        self._inner = sha256(bytes(byte ^ 0x36 for byte in padded) + head)
        self._outer = sha256(bytes(byte ^ 0x5C for byte in padded))

    def sign(self, unit: int, durable: bool, micros: int) -> bytes:
        """A token of the answer to `unit` (its keyed hash as a number) that was decided at `micros` (Unix microseconds)."""
        tail = _TAIL.pack(durable, unit, micros)
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(tail)
        outer.update(inner.digest())
        return self._text + b2a_base64(tail + outer.digest()[:_TAG], newline=False).translate(_SAFE)


def sign(key: bytes, answered: Answered) -> str:
    """A token, where no Stamp is at hand."""
    stamp = Stamp(key, answered.rollout, answered.generation, answered.cohort, answered.arm)
    return stamp.sign(int(answered.unit, 16), answered.durable, round(answered.start * 1e6)).decode()


def read(keys: Sequence[bytes], token: str, window: float, now: float) -> Read:
    """What a token says that was signed with one of `keys`, `window` seconds after its answer at the latest."""
    raw = _decoded(token)
    if raw is None or raw[0] != _VERSION:
        return _FORGED
    body, tag = raw[:-_TAG], raw[-_TAG:]
    # Each key is tried, whichever fits: how long it takes says nothing of them.
    if not sum(hmac.compare_digest(hmac.digest(key, body, "sha256")[:_TAG], tag) for key in keys):
        return _FORGED
    _, arm, generation = _HEAD.unpack_from(body)
    durable, unit, micros = _TAIL.unpack_from(body, len(body) - _TAIL.size)
    rollout, _, cohort = _letters(body[_HEAD.size : -_TAIL.size]).partition(_LETTERS[0])
    answered = Answered(rollout, generation, cohort, _ARMS[arm], f"{unit:016x}", bool(durable), micros / 1e6)
    if answered.start > now + CLOCKS:
        return Read(Seen.EARLY, answered)
    return Read(Seen.VALID if now <= answered.start + window else Seen.EXPIRED, answered)


def feedback_key(unit_key: bytes) -> bytes:
    """The key of these tokens, from the store's secret."""
    return blake2b(b"extproc feedback", key=unit_key[:64], digest_size=32).digest()


def _padded(key: bytes) -> bytes:
    return (sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")


def _decoded(token: str) -> bytes | None:
    """The bytes of a token of the right shape; there is one spelling for each."""
    if len(token) > LONGEST or len(token) % 4 or not token.isascii():
        return None
    text = token.encode()
    try:
        raw = a2b_base64(text.translate(_PLAIN), strict_mode=True)
    except Error:
        return None
    if (len(raw) - _HEAD.size - _TAIL.size - _TAG) % 6 or len(raw) < _HEAD.size + 6 + _TAIL.size + _TAG:
        return None
    return raw if b2a_base64(raw, newline=False).translate(_SAFE) == text else None


def _packed(rollout: str, cohort: str) -> bytes:
    text = f"{rollout}{_LETTERS[0]}{cohort}"
    if not rollout or text.count(_LETTERS[0]) != 1 or not set(text) <= _CODES.keys():
        raise ValueError("names are made of a-z, 0-9, '.', '_' and '-'")
    codes = [_CODES[letter] for letter in text.ljust(-len(text) // _GROUP * -_GROUP, _LETTERS[0])]
    threes = (codes[place] * 1600 + codes[place + 1] * 40 + codes[place + 2] for place in range(0, len(codes), 3))
    return b"".join(three.to_bytes(2, "big") for three in threes)


def _letters(packed: bytes) -> str:
    pairs = (int.from_bytes(packed[place : place + 2], "big") for place in range(0, len(packed), 2))
    return "".join(_LETTERS[pair // 1600] + _LETTERS[pair // 40 % 40] + _LETTERS[pair % 40] for pair in pairs).rstrip(_LETTERS[0])
