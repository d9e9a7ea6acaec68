"""Who has logged in: a signed cookie. Pure but for what it is given.

    base64url({"name", "until", "nonce"}) "." base64url(HMAC-SHA256(key, the part before))

The key is derived from the API's secret and the credential of who logged in (`Who.seal`), so another credential ends the sessions that the
one before has begun, and a replaced API process ends none. No token is in a cookie, and no role: what a person may is looked up each time,
so that who has been made less is less at once. Nothing is remembered here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from extproc.controller.access.people import Who, name_problem
from extproc.controller.access.roles import Role

LASTS: Final = 12 * 3600.0
"""Seconds that a login is good for: a shift."""
LONGEST_COOKIE: Final = 1_024


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who has shown who he is."""

    name: str
    """As the Journal will say it."""
    until: float
    """Unix seconds."""
    role: Role

    @property
    def who(self) -> Who:
        """For the gate's log."""
        return Who(self.name, self.role, b"")


class Sessions:
    """Of one API."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.cookie = "extproc_" + hashlib.sha256(b"extproc console name\0" + secret).hexdigest()[:8]
        """Its name: browsers keep cookies by host and not by port, and two controllers on one machine must not log each other out."""

    def begin(self, who: Who, now: float, nonce: str) -> str:
        """The cookie's value; raises ValueError for what is no name."""
        if problem := name_problem(who.name):
            raise ValueError(problem)
        said = _packed(orjson.dumps({"name": who.name, "until": now + LASTS, "nonce": nonce}))
        return f"{said}.{self._signed(said, who.seal)}"

    def read(self, value: str, now: float, named: Callable[[str], Who | None]) -> Session | None:
        """Whose it is; None where it is not ours, or over. `named`: what a person of that name is today."""
        said, dot, signature = value.partition(".")
        if not dot or len(value) > LONGEST_COOKIE:
            return None
        document = _unpacked(said)
        who = named(document["name"]) if document is not None else None
        if (
            who is None
            or document is None
            or not hmac.compare_digest(signature.encode(errors="replace"), self._signed(said, who.seal).encode())
        ):
            return None
        return Session(who.name, document["until"], who.role) if now < document["until"] else None

    def _signed(self, said: str, seal: bytes) -> str:
        key = hashlib.sha256(b"extproc console session\0" + seal + self._secret).digest()
        return _packed(hmac.digest(key, said.encode(errors="replace"), "sha256"))


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unpacked(said: str) -> dict[str, Any] | None:
    """What somebody says of himself, not to be believed before its signature has been looked at; None for what we never write."""
    try:
        document = orjson.loads(base64.urlsafe_b64decode(said + "=" * (-len(said) % 4)))
    except ValueError:
        return None
    kinds = {"name": str, "until": float, "nonce": str}
    if (
        not isinstance(document, dict)
        or document.keys() != kinds.keys()
        or any(type(document[key]) is not kind for key, kind in kinds.items())
    ):
        return None
    return document
