"""The corpora of redaction, and what it means that nothing of a secret is left."""

from __future__ import annotations

import json
from typing import Final

from tests.support.redaction_clean import CLEAN
from tests.support.redaction_planted import PLANTED

PART: Final = 6
"""Letters and digits in a row that are too much of a secret."""


def planted() -> list[dict[str, str]]:
    return [json.loads(line) for line in PLANTED.read_text(encoding="utf-8").splitlines()]


def clean() -> list[str]:
    return [json.loads(line)["text"] for line in CLEAN.read_text(encoding="utf-8").splitlines()]


def compact(text: str) -> str:
    """Letters and digits alone, in lower case."""
    return "".join(char for char in text.lower() if char.isalnum())


def left_of(secret: str, text: str, redacted: str) -> list[str]:
    """Parts of the secret that are in the redacted text, and not in what was around it."""
    bare, around, rest = compact(secret), compact(text.replace(secret, " ")), compact(redacted)
    parts = {bare[i : i + PART] for i in range(max(1, len(bare) - PART + 1))}
    return sorted(part for part in parts if part in rest and part not in around)
