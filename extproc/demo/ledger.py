"""What a simulated model says it served. The demo compares extproc's belief with it; nothing of extproc writes here.

Instants are Unix seconds by the model's clock. Every request is in exactly one of `open`, `ok`, `errors`, `aborted`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Window:
    """What happened since the last change of the knobs."""

    at: float = 0.0
    requests: int = 0
    errors: int = 0
    first_error: float | None = None
    """When the first failing response was sent."""
    last_request: float | None = None
    """When the last request arrived, of those whom the knobs concern."""


@dataclass(slots=True)
class Ledger:
    """One model's account of its requests."""

    model: str
    requests: int = 0
    ok: int = 0
    errors: int = 0
    """Answered with a failure."""
    aborted: int = 0
    """The other side went away before the answer was complete."""
    streams: int = 0
    """Requests that asked for a stream."""
    input_tokens: int = 0
    output_tokens: int = 0
    """Tokens of complete good answers."""
    first_request: float | None = None
    last_request: float | None = None
    first_error: float | None = None
    asked_for: dict[str, int] = field(default_factory=dict)
    """Requests by the model name in their body: shows whether a gateway rewrote it."""
    silence: tuple[float, float] = (0.0, 0.0)
    """The longest time without a request: from one arrival to the next."""
    foreign_headers: int = 0
    """Requests that carried a header beginning with the prefix given at the start: a gateway's secret that leaked."""
    since: Window = field(default_factory=Window)

    @property
    def open(self) -> int:
        """Requests that are being answered."""
        return self.requests - self.ok - self.errors - self.aborted

    def arrived(self, now: float, asked_for: str, stream: bool, foreign: bool, concerned: bool = True) -> None:
        """A request came in; `concerned`: what fails may fail for it."""
        self.requests += 1
        self.streams += stream
        self.foreign_headers += foreign
        self.asked_for[asked_for] = self.asked_for.get(asked_for, 0) + 1
        if self.first_request is None:
            self.first_request = now
        elif self.last_request is not None and now - self.last_request > self.silence[1] - self.silence[0]:
            self.silence = (self.last_request, now)
        self.last_request = now
        if concerned:
            self.since.last_request = now
            self.since.requests += 1

    def served(self, input_tokens: int, output_tokens: int) -> None:
        """A good answer is complete."""
        self.ok += 1
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens

    def failed(self, now: float) -> None:
        """A failing answer was sent."""
        self.errors += 1
        self.since.errors += 1
        if self.first_error is None:
            self.first_error = now
        if self.since.first_error is None:
            self.since.first_error = now

    def gone(self) -> None:
        """The other side went away."""
        self.aborted += 1

    def mark(self, now: float) -> None:
        """The knobs change: count anew from here."""
        self.since = Window(at=now)

    def as_json(self) -> dict[str, Any]:
        """All fields and `open`, ready for JSON."""
        return {**asdict(self), "open": self.open}
