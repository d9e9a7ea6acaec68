"""A compiled part of a rule, and how parts are put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

Run = Callable[[Any], Any]
"""What a part answers for the data it stands in: the attributes, or an item of a list inside map, filter, reduce, all, some, none."""


@dataclass(frozen=True, slots=True)
class Expression:
    run: Run
    known: bool = False
    """True where the answer is always `value`: nothing, a bool, a text, or a number that is not NaN."""
    value: Any = None
    items: tuple[Expression, ...] | None = None
    """Set where this is a list as written in the rule."""

    @property
    def fixed(self) -> bool:
        """True where the answer does not depend on the data."""
        return self.known or (self.items is not None and all(item.fixed for item in self.items))


def constant(value: Any) -> Expression:
    """The same answer always."""
    return Expression(lambda _: value, known=True, value=value)


NOTHING: Final = constant(None)
"""An argument that is not given."""


def listed(items: Sequence[Expression]) -> Expression:
    """A list as written: a new one each time, because `==` on lists asks whether they are the same one."""
    runs = tuple(item.run for item in items)
    return Expression(lambda data: [run(data) for run in runs], items=tuple(items))


def folded(run: Run, arguments: Sequence[Expression]) -> Expression:
    """Asked once at load where no argument depends on the data. Never a list (it must be new each time) and never NaN (each has its
    own identity); what raises at load raises at each request, as it does in the SDK."""
    if not all(argument.fixed for argument in arguments):
        return Expression(run)
    try:
        value = run(None)
    except Exception:
        return Expression(run)
    if isinstance(value, list) or value != value:
        return Expression(run)
    return constant(value)


def after(ignored: Sequence[Expression], run: Run) -> Run:
    """`run`, after arguments that the operation ignores: the SDK evaluates them all the same, and they can fail."""
    runs = tuple(argument.run for argument in ignored if not argument.known)
    if not runs:
        return run

    def all_of_them(data: Any) -> Any:
        for one in runs:
            one(data)
        return run(data)

    return all_of_them
