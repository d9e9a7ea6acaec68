"""The key behind a Credential, for those who ask a service of others as the Spec says: judges, models, flag services."""

from __future__ import annotations

import os
from pathlib import Path

from extproc.domain import Credential


class CredentialError(Exception):
    """There is no key. The text names the place, and has no word of what is in it."""

    def __init__(self, place: str, found: bool) -> None:
        """`found`: something is there, and it is no key."""
        super().__init__(f"{place} holds what is no key" if found else f"{place} cannot be read")
        self.place, self.found = place, found


def read_credential(reference: Credential) -> str:
    """The key, which a header can have; read it each time, so that it can be changed under a running process. Raises CredentialError."""
    try:
        written = os.environ[reference.env] if reference.env is not None else Path(reference.file or "").read_text(encoding="utf-8")
    except (OSError, KeyError, UnicodeDecodeError, ValueError) as error:
        raise CredentialError(reference.place, found=False) from error
    key = written.strip()
    if not key or not key.isascii() or not key.isprintable():
        raise CredentialError(reference.place, found=True)
    return key
