"""Signed tokens: what keeps an open conversation on its model, and the QA header that names an arm. HOT where a request brings one.

A conversation's token, ASCII and fit for a cookie:

    1.<rollout>.<epoch>.<expiry>.<side><bound>.<owner>.<mac>

`rollout` is 8 hex digits of a hash of layer, salt and name: what is signed for another rollout is told from what is forged. `epoch` is
State's at issue, `expiry` Unix seconds in hex, `side` c or s (canary, stable). `bound` is u where the token belongs to one unit, c to one
conversation, - to neither; `owner` is a keyed hash of that unit or conversation. `mac` is keyed BLAKE2b-128 in hex over all of that.
Nothing in it says who somebody is, and the key never leaves the router.

A QA header: `arm=canary;exp=1764241200;sig=<hex>`, where sig is HMAC-SHA256 of `<rollout>\\n<arm>\\n<exp>` under the secret of the Spec;
any language signs it in three lines (README).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b, sha256
from typing import Final

from extproc.domain import Arm

_MAC_BYTES: Final = 16
_LONGEST: Final = 128
"""Bytes of a token, with room to spare; longer ones are not looked at."""
LONGEST_QA: Final = 31 * 86400.0
"""Seconds ahead that a QA header may expire: one that is good for ever is a key."""


class Fate(IntEnum):
    """What became of a token or header that a request brought."""

    NONE = 0
    VALID = 1
    FORGED = 2
    EXPIRED = 3
    FOREIGN = 4
    """Of another rollout, another user or another conversation."""
    REVOKED = 5
    """Its epoch is over."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a token says, and whether that counts."""

    fate: Fate
    canary: bool


NOTHING: Final = Held(Fate.NONE, False)
_HELD: Final = {(fate, canary): Held(fate, canary) for fate in Fate for canary in (False, True)}


class Signer:
    """Makes and reads the tokens of one rollout."""

    def __init__(self, key: bytes, layer: str, salt: str, rollout: str) -> None:
        """`key`: secret, 16 to 64 bytes."""
        self._tag = blake2b(f"{layer}/{salt}/{rollout}".encode(), digest_size=4).hexdigest().encode()
        self._mac = blake2b(self._tag, key=key, digest_size=_MAC_BYTES)

    def sign(self, canary: bool, epoch: int, expiry: int, bound: bytes, owner: bytes) -> bytes:
        """A token; `bound` is b"u", b"c" or b"-", `owner` the id that it is bound to."""
        side = b"c" if canary else b"s"
        head = b"1.%b.%x.%x.%b%b.%b" % (self._tag, epoch, expiry, side, bound, self._owner(owner))
        return head + b"." + self._signature(head)

    def read(self, token: bytes, epoch: int, now: float, owners: Callable[[bytes], bytes], beyond: bool) -> Held:
        """What a token says; `owners` gives the request's id of a kind, `beyond` counts it though it has expired."""
        parts = token.split(b".") if len(token) <= _LONGEST else ()
        if len(parts) != 7 or parts[0] != b"1" or len(parts[4]) != 2:
            return _HELD[Fate.FORGED, False]
        if parts[1] != self._tag:
            return _HELD[Fate.FOREIGN, False]
        if not hmac.compare_digest(parts[6], self._signature(token[: len(token) - len(parts[6]) - 1])):
            return _HELD[Fate.FORGED, False]
        canary = parts[4][:1] == b"c"
        if parts[5] != self._owner(owners(parts[4][1:])):
            return _HELD[Fate.FOREIGN, canary]
        if int(parts[2], 16) != epoch:
            return _HELD[Fate.REVOKED, canary]
        if int(parts[3], 16) <= now and not beyond:
            return _HELD[Fate.EXPIRED, canary]
        return _HELD[Fate.VALID, canary]

    def _owner(self, owner: bytes) -> bytes:
        mac = self._mac.copy()
        mac.update(b"owner\n" + owner)
        return mac.hexdigest()[:16].encode()

    def _signature(self, head: bytes) -> bytes:
        mac = self._mac.copy()
        mac.update(b"token\n" + head)
        return mac.hexdigest().encode()


def conversation_key(unit_key: bytes) -> bytes:
    """The key of conversation tokens, from the store's secret."""
    return blake2b(b"extproc conversation", key=unit_key[:64], digest_size=32).digest()


# -------------------------------------------------------------------------------------------------------------------------- QA
def sign_qa(secret: bytes, rollout: str, arm: Arm, expiry: int) -> str:
    """The value of a QA header; `arm` is canary or control (said as stable)."""
    word = _word(arm)
    return f"arm={word};exp={expiry};sig={_qa_signature(secret, rollout, word, expiry)}"


def read_qa(secret: bytes, rollout: str, value: bytes, now: float) -> tuple[Fate, bool]:
    """(what became of it, True for the canary)."""
    try:
        fields = dict(part.strip().split("=", 1) for part in value[:512].decode("ascii").split(";"))
        arm, expiry, signature = fields["arm"], int(fields["exp"]), fields["sig"]
    except (ValueError, KeyError):
        return Fate.FORGED, False
    if arm not in ("canary", "stable") or not hmac.compare_digest(signature.lower(), _qa_signature(secret, rollout, arm, expiry)):
        return Fate.FORGED, False
    if not now < expiry <= now + LONGEST_QA:
        return Fate.EXPIRED, False
    return Fate.VALID, arm == "canary"


def _qa_signature(secret: bytes, rollout: str, arm: str, expiry: int) -> str:
    return hmac.new(secret, f"{rollout}\n{arm}\n{expiry}".encode(), sha256).hexdigest()


def _word(arm: Arm) -> str:
    return "canary" if arm is Arm.CANARY else "stable"
