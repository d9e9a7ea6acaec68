"""A feature flag of another system, compiled: attributes in, the vendor's own answer out.

Each vendor has one module of this room with `compile_flag(document, key) -> Flag`. What a Flag answers is bit for bit what that
vendor's SDK answers for the same attributes. Whatever a module does not support is refused at load, with the flag and the rule named:
never answered approximately.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from extproc.errors import ExtprocError

Attributes = Mapping[str, Any]
"""What is known of a request under the vendor's own attribute names: str, and int, float or bool where the Spec gives a type. What is
not known is not there."""


class FlagError(ExtprocError):
    """A flag cannot be evaluated as its vendor would; its Problems name the flag and the rule."""


class FlagAnswer(NamedTuple):
    """The vendor's answer."""

    on: bool
    """Unleash: enabled. LaunchDarkly, GrowthBook, flagd: the value is truthy, as their own clients would test it."""
    variant: str
    """Name of the variant or variation; empty where the vendor gives none."""
    value: Any
    """The flag's value; for Unleash the same as `on`."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One compiled flag. HOT: `evaluate` is called once per request; it parses nothing and compiles nothing."""

    key: str
    evaluate: Callable[[Attributes, float], FlagAnswer]
    """(attributes, now in Unix seconds) -> answer. Raises nothing."""
    needs: frozenset[str]
    """Attributes that the answer may depend on."""
    needs_time: bool
    """True where the answer may depend on `now`; else `now` may be 0."""
