"""What it takes to ask somebody else's API: a key by reference, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret by reference: the value is in `file` (an SDS-style file or plain text) or in environment variable `env`."""

    header: str
    prefix: str
    file: str | None
    env: str | None

    @property
    def place(self) -> str:
        """Where the value is, in words."""
        return f"environment variable {self.env}" if self.env is not None else f"file {self.file}"


@dataclass(frozen=True, slots=True)
class Prices:
    """USD per million tokens."""

    input: Decimal
    cached_input: Decimal
    output: Decimal
