"""Feedback keys: what an application's server shows to speak of answers by their request ids. Pure.

A file of one key per line, `#` begins a comment. All of them are good, so that one can be replaced without a moment in which none is.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from extproc.errors import Problem, SettingsError

SHORTEST: Final = 32
"""Characters of a key: nobody guesses one."""
MOST: Final = 32
"""Keys of a file: each is compared with what a client shows."""
_KEY: Final = re.compile(rf"[\x21-\x7e]{{{SHORTEST},256}}")


def digest(key: str) -> bytes:
    """What is kept of a key."""
    return sha256(key.encode("utf-8", "surrogateescape")).digest()


@dataclass(frozen=True, slots=True)
class Keys:
    """Digests, in the order of the file."""

    digests: tuple[bytes, ...] = ()

    def find(self, shown: str) -> int | None:
        """The place of a key; None where it is none. Takes as long whichever it is."""
        seen = digest(shown)
        places = [place for place, one in enumerate(self.digests) if hmac.compare_digest(one, seen)]
        return places[0] if places else None


def read_keys(path: str, text: str, admin_digest: bytes = b"") -> Keys:
    """The keys of a file; raises SettingsError with everything that is wrong. `admin_digest` is that of the API's token, which is none."""
    problems: list[Problem] = []
    found: dict[bytes, None] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        key = line.partition("#")[0].strip()
        if key and (problem := _wrong(path, number, key, admin_digest)) is not None:
            problems.append(problem)
        elif key:
            found[digest(key)] = None
    if len(found) > MOST:
        problems.append(Problem("feedback.keys", path, f"has {len(found)} keys", f"at most {MOST}: remove those that nobody uses"))
    if problems:
        raise SettingsError(problems)
    return Keys(tuple(found))


def bearer(authorization: Sequence[str]) -> str | None:
    """What stands behind `Bearer` in the one header; None where there is none, empty where it is something else."""
    if not authorization:
        return None
    scheme, _, shown = authorization[0].partition(" ")
    return shown.strip() if len(authorization) == 1 and scheme.lower() == "bearer" else ""


def _wrong(path: str, number: int, key: str, admin_digest: bytes) -> Problem | None:
    """What is wrong with a key; it is not shown."""
    if not _KEY.fullmatch(key):
        hint = 'one that nobody guesses: python -c "import secrets; print(secrets.token_urlsafe(32))"'
        return Problem("feedback.keys", path, f"a key has {SHORTEST} to 256 visible ASCII characters", hint, number)
    if hmac.compare_digest(digest(key), admin_digest):
        hint = "make another one: whoever may say what users think must not be able to roll back"
        return Problem("feedback.keys", path, "this key is the token of the controller's API", hint, number)
    return None
