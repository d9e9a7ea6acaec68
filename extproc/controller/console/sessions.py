"""Who has logged in: a signed cookie made of the API's token. Pure but for what it is given.

    base64url({"name", "until", "nonce"}) "." base64url(HMAC-SHA256(key, the part before))

The key is derived from the token, so another token ends all sessions, and a replaced API process ends none. The token itself is in no
cookie. Nothing is remembered here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

import orjson

LASTS: Final = 12 * 3600.0
"""Seconds that a login is good for: a shift."""
LONGEST_NAME: Final = 80
LONGEST_COOKIE: Final = 1_024
AUTOMATION: Final = "extproc"
"""In the Journal this is the name of decisions that no person took."""


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who has shown the token."""

    name: str
    """As the Journal will say it."""
    until: float
    """Unix seconds."""


class Sessions:
    """Of one token."""

    def __init__(self, token: bytes) -> None:
        self._token = token
        self._key = hashlib.sha256(b"extproc console session\0" + token).digest()
        self.cookie = "extproc_" + hashlib.sha256(b"extproc console name\0" + token).hexdigest()[:8]
        """Its name: browsers keep cookies by host and not by port, and two controllers on one machine must not log each other out."""

    def opens(self, token: str) -> bool:
        """True for the token itself; takes as long for any other of its length."""
        return hmac.compare_digest(token.encode(errors="replace"), self._token)

    def begin(self, name: str, now: float, nonce: str) -> str:
        """The cookie's value; raises ValueError for what is no name."""
        name = name.strip()
        if not name or len(name) > LONGEST_NAME or not name.isprintable():
            raise ValueError(f"a name has 1 to {LONGEST_NAME} characters, all of them visible")
        if name.lower() == AUTOMATION:
            raise ValueError(f"{AUTOMATION!r} is the name of the automation")
        said = _packed(orjson.dumps({"name": name, "until": now + LASTS, "nonce": nonce}))
        return f"{said}.{self._signed(said)}"

    def read(self, value: str, now: float) -> Session | None:
        """Whose it is; None where it is not ours, or over."""
        said, dot, signature = value.partition(".")
        if (
            not dot
            or len(value) > LONGEST_COOKIE
            or not hmac.compare_digest(signature.encode(errors="replace"), self._signed(said).encode())
        ):
            return None
        document = orjson.loads(base64.urlsafe_b64decode(said + "=" * (-len(said) % 4)))
        return Session(document["name"], document["until"]) if now < document["until"] else None

    def _signed(self, said: str) -> str:
        return _packed(hmac.digest(self._key, said.encode(errors="replace"), "sha256"))


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
