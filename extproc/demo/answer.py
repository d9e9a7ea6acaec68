"""What one request to a simulated model gets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request gets."""

    wait: float
    """Seconds to the first token."""
    writing: float
    """Seconds from the first to the last token."""
    input_tokens: int
    cached_tokens: int | None
    """Part of the input; None: not spoken of."""
    output_tokens: int
    reasoning_tokens: int | None
    """Part of the output; None: not spoken of."""
    status: int
    """200, an error status, or 0: never any answer."""
    text: str
    """What it says."""
