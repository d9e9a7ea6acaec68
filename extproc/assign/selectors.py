"""Selectors of a Spec as Python expressions: all of a rollout are compiled together (`code`), and run per request. HOT.

Values are compared as raw bytes, exactly. An empty value is no value. An expression may use the request (`subject`), the id of its unit
(`unit`, empty before it is known), the time (`now`: Unix seconds; 0 where nothing in the Spec depends on it), facts and constants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from extproc.assign.bucket import written_point
from extproc.assign.code import Draft, Matcher
from extproc.domain import (
    AllOf,
    Among,
    AnyOf,
    Attribute,
    AttributeType,
    Fact,
    FactKind,
    FlagIs,
    Ids,
    Match,
    Not,
    PathStarts,
    RandomShare,
    Regions,
    Selector,
    Subject,
    ring_length,
)
from extproc.flags import Flag

Reader = Callable[[Subject], bytes]
"""A fact of a request; empty where it is not there."""

REQUEST_MODEL: Final = "extproc.request.model"
CLAIM_PREFIX: Final = "extproc.claim."
"""Keys inside a Subject, the same as in `contract` (a test keeps them equal)."""
LIST_SEPARATOR: Final = b"\0"
"""Between the entries of a claim that is a list."""


class Writer:
    """Selectors of one cohort: its random shares have a hash of their own, and its flags are at hand."""

    def __init__(
        self,
        draft: Draft,
        prefix: bytes,
        flags: Mapping[str, Mapping[str, Flag | None]],
        attributes: Mapping[str, Mapping[str, Attribute]],
    ) -> None:
        """`draft`: of the function that will hold the expressions. `prefix`: of the cohort's random shares. `flags`: source -> key ->
        compiled Flag, None where it is not known. `attributes`: source -> attribute -> where it comes from."""
        self._draft, self._prefix, self._flags, self._attributes = draft, prefix, flags, attributes

    def expression(self, selector: Selector, unread: bool) -> str:
        """True where the selector is met. `unread`: what is taken for a flag that is not known (its contrary inside of a `not`), so that
        the whole selector errs on the side of stable."""
        constant, fact_named = self._draft.constant, self._draft.fact
        match selector:
            case Among(fact, values):
                return among(self._draft, fact, frozenset(value.encode() for value in values))
            case PathStarts(prefixes):
                return path_starts(self._draft, prefixes)
            case Regions(country_header, region_header, codes):
                place = f'({fact_named(country_header)} or b"") + b"-" + ({fact_named(region_header)} or b"")'
                return f"{place} in {constant(frozenset(code.encode() for code in codes))}"
            case Ids(ids, _):
                return f"unit in {constant(frozenset(one.encode() for one in ids))}"
            case RandomShare(share):
                return f"{written_point(self._draft, self._prefix)} < {constant(ring_length(share))}"
            case FlagIs(source, key, variants):
                flag = self._flags[source][key]
                if flag is None:
                    return str(unread)
                return f"{constant(_flag(flag, self._attributes[source], frozenset(variants)))}(subject, unit, now)"
            case AllOf(parts):
                return "(" + " and ".join(self.expression(part, unread) for part in parts) + ")"
            case AnyOf(parts):
                return "(" + " or ".join(self.expression(part, unread) for part in parts) + ")"
            case Not(part):
                return f"(not {self.expression(part, not unread)})"


def request_matcher(match: Match) -> Matcher | None:
    """All given conditions hold; None if there is none."""
    draft = Draft()
    conditions: list[str] = []
    if match.hosts:
        hosts = draft.constant(frozenset(host.encode() for host in match.hosts))
        conditions.append(f"{draft.constant(_host_in)}({draft.fact(':authority')}, {hosts})")
    if match.paths:
        conditions.append(path_starts(draft, match.paths))
    if match.models:
        conditions.append(among(draft, Fact(FactKind.MODEL), frozenset(model.encode() for model in match.models)))
    matcher: Matcher | None = draft.value(" and ".join(conditions)) if conditions else None
    return matcher


def reader(fact: Fact) -> Reader:
    """How a fact is read from a request."""
    if fact.kind is FactKind.COOKIE:
        return _cookie(fact.name)
    key = _key(fact)
    return lambda subject: subject.get(key, b"")


def _key(fact: Fact) -> str:
    """The place of a fact in a Subject; cookies have none of their own."""
    match fact.kind:
        case FactKind.COOKIE:
            return "cookie"
        case FactKind.HEADER:
            return fact.name
        case FactKind.CLAIM:
            return CLAIM_PREFIX + fact.name
        case FactKind.MODEL:
            return REQUEST_MODEL
        case FactKind.PATH:
            return ":path"


def among(draft: Draft, fact: Fact, values: frozenset[bytes]) -> str:
    """The fact is one of these; of a claim that is a list, one entry is enough."""
    found, wanted = draft.fact(_key(fact)), draft.constant(values)
    if fact.kind is FactKind.CLAIM:
        return f"({found} is not None and not {wanted}.isdisjoint({found}.split({draft.constant(LIST_SEPARATOR)})))"
    if fact.kind is FactKind.COOKIE:
        # Most requests lack the cookie: that is seen without a call (and find takes half the time of `in`).
        there = f"{found} is not None and {found}.find({draft.constant(_begin(fact.name))}) >= 0"
        return f"({there} and {draft.constant(_cookie(fact.name))}(subject) in {wanted})"
    return f"{found} in {wanted}"


def path_starts(draft: Draft, prefixes: tuple[str, ...]) -> str:
    """The path, query included, begins with one of these."""
    starts = draft.constant(tuple(prefix.encode() for prefix in prefixes))
    return f'({draft.fact(":path")} or b"").startswith({starts})'


def _host_in(host: bytes | None, hosts: frozenset[bytes]) -> bool:
    authority = (host or b"").lower()
    return authority in hosts or authority.rpartition(b":")[0] in hosts


def _begin(cookie: str) -> bytes:
    return cookie.encode() + b"="


def _cookie(name: str) -> Reader:
    wanted = _begin(name)

    def read(subject: Subject) -> bytes:
        header = subject.get("cookie")
        if header is None or wanted not in header:
            return b""
        for pair in header.split(b";"):
            pair = pair.strip()
            if pair.startswith(wanted):
                return pair[len(wanted) :].strip(b'"')
        return b""

    return read


# ----------------------------------------------------------------------------------------------------------------------- flags
def _flag(flag: Flag, attributes: Mapping[str, Attribute], variants: frozenset[str]) -> Matcher:
    # Each: name, how it is read (None: it is the unit), and what makes a value of the bytes (None: they are a text).
    wanted = tuple(
        (name, _single(attribute.fact) if attribute.fact is not None else None, _TYPED.get(attribute.type))
        for name, attribute in attributes.items()
        if name in flag.needs
    )
    evaluate = flag.evaluate

    def matches(subject: Subject, unit: bytes, now: float) -> bool:
        given: dict[str, Any] = {}
        for name, read, typed in wanted:
            found = read(subject) if read is not None else unit
            if found:
                value = found.decode("utf-8", "replace") if typed is None else typed(found)
                if value is not None:
                    given[name] = value
        answer = evaluate(given, now)
        return answer.variant in variants if variants else answer.on

    return matches


def _single(fact: Fact) -> Reader:
    """A fact as a flag sees it. A claim that is a list is not there: an attribute is one value."""
    read = reader(fact)
    if fact.kind is not FactKind.CLAIM:
        return read

    def one_value(subject: Subject) -> bytes:
        found = read(subject)
        return b"" if LIST_SEPARATOR in found else found

    return one_value


def _number(value: bytes) -> float | int | None:
    # Python reads 1_000 as a number; nobody else does.
    if b"_" in value:
        return None
    try:
        return int(value)
    except ValueError:
        try:
            number = float(value)
        except ValueError:
            return None
        return number if abs(number) < float("inf") else None


def _boolean(value: bytes) -> bool | None:
    return {b"true": True, b"false": False}.get(value.lower())


_TYPED: Final[Mapping[AttributeType, Callable[[bytes], Any]]] = {AttributeType.NUMBER: _number, AttributeType.BOOLEAN: _boolean}
"""Raw bytes to a value that is no text; None where they are no such value."""
