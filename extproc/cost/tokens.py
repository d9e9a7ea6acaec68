"""Tokens of a mean request to a model: measured, else written in the Spec, else assumed from what the application does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from extproc.domain import Application, ApplicationType, Model, Spec, Tokens

UNCERTAIN_ASSUMED: Final = Decimal("0.5")
"""Applications of one type differ by a factor of two and more: a half to each side says so without hiding the sign of what is saved."""
UNCERTAIN_WRITTEN: Final = Decimal("0.2")
"""Who writes a mean down has seen it, on other days and with other users."""
LEAST_UNCERTAIN: Final = Decimal("0.02")
"""However much was measured: weekdays differ from weekends."""
SPREAD: Final = 0.947
"""Standard deviation of a request's tokens by their mean, where their logarithm has 0.8 (as release.plan assumes of costs)."""
CONFIDENCE: Final = 1.96
"""Standard errors to each side: 95 of 100."""
FEW: Final = 100
"""Requests before their mean is believed more than the table: at 95 % it is then known to a fifth."""


class Known(StrEnum):
    """Where the tokens come from."""

    ASSUMED = "assumed"
    WRITTEN = "written"
    MEASURED = "measured"
    BORROWED = "assumed to be what the other model measures"


@dataclass(frozen=True, slots=True)
class Usual:
    """What a type of application usually reads and writes for a request."""

    input: int
    cached_share: str
    output: int
    why: str


USUAL: Final[Mapping[ApplicationType, Usual]] = {
    ApplicationType.CHATBOT: Usual(1500, "0.3", 300, "a system prompt and some turns before the question; an answer of two paragraphs"),
    ApplicationType.SEARCH: Usual(
        4000, "0.1", 250, "some ten passages, new ones each time, of which no cache knows; a short answer from them"
    ),
    ApplicationType.CONTENT_GENERATION: Usual(800, "0.2", 1200, "a brief and some guidelines; a text of two pages"),
    ApplicationType.CODE_ASSISTANT: Usual(
        6000, "0.6", 400, "open files and the turns before, mostly the same as a moment ago; an edit of some lines"
    ),
}
"""Assumed of a model that does not reason; one that does writes several times as much, and nobody can tell how much before it is asked."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a running controller has counted of one arm."""

    requests: int
    input_tokens: int
    output_tokens: int


def counted(spec: Spec, rollouts: Mapping[str, Any]) -> dict[tuple[str, str], Measured]:
    """(rollout, model) -> what a status document's `rollouts` say of it, where they have the Spec's models."""
    found = {}
    for name, rollout in spec.rollouts.items():
        told = rollouts.get(name)
        if told is None or (told["stable"], told["canary"]) != (rollout.stable, rollout.canary):
            continue
        for role in ("stable", "canary"):
            arm = told["arms"][role]
            found[name, told[role]] = Measured(arm["requests"], arm["input_tokens"], arm["output_tokens"])
    return found


@dataclass(frozen=True, slots=True)
class Load:
    """Tokens of a mean request to one model."""

    input: Decimal
    """All that is read."""
    cached: Decimal
    """Part of the input, from a cache."""
    output: Decimal
    """All that is written."""
    reasoning: Decimal
    """Part of the output."""
    uncertainty: Decimal
    """So much larger or smaller each of them may be, as a share of itself."""
    known: Known

    def scaled(self, read: int, written: int) -> Load:
        """At an end of what it may be: 1 the upper, -1 the lower, 0 the middle; of what is read and of what is written."""
        more, longer = 1 + read * self.uncertainty, 1 + written * self.uncertainty
        return replace(
            self, input=self.input * more, cached=self.cached * more, output=self.output * longer, reasoning=self.reasoning * longer
        )


def load(application: Application, model: Model, measured: Measured | None = None) -> Load:
    """What is known best of requests to a model."""
    usual = USUAL[application.type]
    read, share = Decimal(usual.input), Decimal(usual.cached_share)
    output, reasoning, uncertainty = Decimal(usual.output), Decimal(0), None
    said = (application.tokens, model.tokens)
    for level in said:
        read = Decimal(level.input) if level.input is not None else read
        share = exact(level.cached_share) if level.cached_share is not None else share
        output, reasoning = _output(level, output, reasoning)
        uncertainty = exact(level.uncertainty) if level.uncertainty is not None else uncertainty
    written = all(any(getattr(level, name) is not None for level in said) for name in ("input", "output"))
    known = Known.WRITTEN if written else Known.ASSUMED
    if measured is not None and measured.requests >= FEW and measured.input_tokens and measured.output_tokens:
        known, thought = Known.MEASURED, reasoning / output if output else Decimal(0)
        read, output = Decimal(measured.input_tokens) / measured.requests, Decimal(measured.output_tokens) / measured.requests
        # Controllers count neither what came from a cache nor what was reasoning: these parts stay as they were.
        reasoning = thought * output
        uncertainty = max(LEAST_UNCERTAIN, exact(round(CONFIDENCE * SPREAD / math.sqrt(measured.requests), 4)))
    if uncertainty is None:
        uncertainty = UNCERTAIN_WRITTEN if known is Known.WRITTEN else UNCERTAIN_ASSUMED
    return Load(read, read * share, output, reasoning, uncertainty, known)


def borrow(own: Load, measured: Load, model: Tokens) -> Load:
    """What is assumed of a model beside one that was measured: it is asked the same, and answers as much, reasoning apart.

    `model`: what the Spec says of this model alone, which stays.
    """
    if own.known is not Known.ASSUMED or measured.known is not Known.MEASURED:
        return own
    read = own.input if model.input is not None else measured.input
    output = own.output if model.output is not None else measured.output - measured.reasoning + own.reasoning
    return replace(own, input=read, cached=own.cached / own.input * read if own.input else read, output=output, known=Known.BORROWED)


def _output(level: Tokens, output: Decimal, reasoning: Decimal) -> tuple[Decimal, Decimal]:
    """(all that is written, reasoning in it) after one more level has spoken. Reasoning alone comes on top of what is read by people."""
    thought = Decimal(level.reasoning) if level.reasoning is not None else reasoning
    if level.output is not None:
        return Decimal(level.output), min(thought, Decimal(level.output))
    return output - reasoning + thought, thought


def exact(number: float) -> Decimal:
    """The decimal number that people read in a float: 0.1 is 0.1."""
    return Decimal(repr(number))
