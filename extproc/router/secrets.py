"""Secrets that only routers know: the keys of tokens (from the store), and those of QA headers (by the Spec's references)."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

from extproc.assign import Secrets, conversation_key
from extproc.assign.answered import feedback_key
from extproc.domain import Credential, Spec

SHORTEST: Final = 16
"""Bytes of a QA secret: a shorter one can be guessed."""

log = logging.getLogger(__name__)


def read_secrets(spec: Spec, unit_key: bytes) -> Secrets:
    """What a Snapshot needs. A QA secret that cannot be read is told, and its headers are ignored: requests go on."""
    qa: dict[str, bytes] = {}
    for rollout in spec.rollouts.values():
        reference = rollout.overrides.qa_secret
        if reference is None:
            continue
        secret = read_secret(reference)
        if len(secret) >= SHORTEST:
            qa[rollout.name] = secret
        else:
            what = "has fewer than 16 bytes" if secret else "is empty or cannot be read"
            said = "%s: %s %s, so signed QA headers are ignored; set it and restart the router"
            log.warning(said, rollout.name, reference.place, what, extra={"rollout": rollout.name})
    return Secrets(conversation_key(unit_key), qa, feedback_key(unit_key))


def read_secret(reference: Credential) -> bytes:
    """The value behind a reference; empty where there is none."""
    if reference.env is not None:
        return os.environ.get(reference.env, "").encode()
    try:
        return Path(reference.file or "").read_bytes().strip()
    except OSError:
        return b""
