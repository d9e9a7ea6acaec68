"""Selectors of a Spec as closures over bytes: built once, called per request. HOT.

Values are compared as raw bytes, exactly. An empty value is no value. A test takes the request, the id of its unit (empty before it is
known) and the time (Unix seconds; 0 where nothing in the Spec depends on it).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from xxhash import xxh3_64_intdigest

from extproc.assign.bucket import cohort_prefix
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

Matcher = Callable[[Subject, bytes, float], bool]
"""(request, unit, now) -> True where it is met."""
Reader = Callable[[Subject], bytes]
"""A fact of a request; empty where it is not there."""

REQUEST_MODEL: Final = "extproc.request.model"
CLAIM_PREFIX: Final = "extproc.claim."
"""Keys inside a Subject, the same as in `contract` (a test keeps them equal)."""
LIST_SEPARATOR: Final = b"\0"
"""Between the entries of a claim that is a list."""


class Compiler:
    """Selectors of one cohort: its random shares have a hash of their own, and its flags are at hand."""

    def __init__(
        self,
        layer: str,
        salt: str,
        cohort: str,
        flags: Mapping[str, Mapping[str, Flag | None]],
        attributes: Mapping[str, Mapping[str, Attribute]],
    ) -> None:
        """`flags`: source -> key -> compiled Flag, None where it is not known. `attributes`: source -> attribute -> where it comes from."""
        self._prefix = cohort_prefix(layer, salt, cohort)
        self._flags = flags
        self._attributes = attributes

    def matcher(self, selector: Selector | None, unread: bool) -> Matcher | None:
        """The test of a selector; None where everybody meets it. `unread`: what is taken for a flag that is not known (its contrary
        inside of a `not`), so that the whole selector errs on the side of stable."""
        return self._compile(selector, unread) if selector is not None else None

    def _compile(self, selector: Selector, unread: bool) -> Matcher:
        match selector:
            case Among(fact, values):
                return among(fact, frozenset(value.encode() for value in values))
            case PathStarts(prefixes):
                return path_starts(prefixes)
            case Regions(country_header, region_header, codes):
                return _regions(country_header, region_header, frozenset(code.encode() for code in codes))
            case Ids(ids, _):
                return _unit_in(frozenset(one.encode() for one in ids))
            case RandomShare(share):
                return _random(self._prefix, ring_length(share))
            case FlagIs(source, key, variants):
                flag = self._flags[source][key]
                if flag is None:
                    return lambda _subject, _unit, _now: unread
                return _flag(flag, self._attributes[source], frozenset(variants))
            case AllOf(parts):
                return every([self._compile(part, unread) for part in parts])
            case AnyOf(parts):
                return _some([self._compile(part, unread) for part in parts])
            case Not(part):
                inner = self._compile(part, not unread)
                return lambda subject, unit, now: not inner(subject, unit, now)


def request_matcher(match: Match) -> Matcher | None:
    """All given conditions hold; None if there is none."""
    conditions: list[Matcher] = []
    if match.hosts:
        conditions.append(_host_is(frozenset(host.encode() for host in match.hosts)))
    if match.paths:
        conditions.append(path_starts(match.paths))
    if match.models:
        conditions.append(among(Fact(FactKind.MODEL), frozenset(model.encode() for model in match.models)))
    return every(conditions) if conditions else None


def reader(fact: Fact) -> Reader:
    """How a fact is read from a request."""
    match fact.kind:
        case FactKind.COOKIE:
            return _cookie(fact.name)
        case FactKind.HEADER:
            key = fact.name
        case FactKind.CLAIM:
            key = CLAIM_PREFIX + fact.name
        case FactKind.MODEL:
            key = REQUEST_MODEL
        case FactKind.PATH:
            key = ":path"
    return lambda subject: subject.get(key, b"")


def every(conditions: list[Matcher]) -> Matcher:
    """All of them hold. Pairs of calls and no loop: a generator would cost more than the conditions themselves."""
    met, *others = conditions
    for other in others:
        met = _both(met, other)
    return met


def _both(one: Matcher, other: Matcher) -> Matcher:
    return lambda subject, unit, now: one(subject, unit, now) and other(subject, unit, now)


def _some(conditions: list[Matcher]) -> Matcher:
    met, *others = conditions
    for other in others:
        met = _either(met, other)
    return met


def _either(one: Matcher, other: Matcher) -> Matcher:
    return lambda subject, unit, now: one(subject, unit, now) or other(subject, unit, now)


def among(fact: Fact, values: frozenset[bytes]) -> Matcher:
    """The fact is one of these; of a claim that is a list, one entry is enough."""
    read = reader(fact)
    if fact.kind is FactKind.CLAIM:
        return lambda subject, _unit, _now: not values.isdisjoint(read(subject).split(LIST_SEPARATOR))
    if fact.kind is FactKind.HEADER:
        key = fact.name
        return lambda subject, _unit, _now: subject.get(key) in values
    return lambda subject, _unit, _now: read(subject) in values


def path_starts(prefixes: tuple[str, ...]) -> Matcher:
    """The path, query included, begins with one of these."""
    starts = tuple(prefix.encode() for prefix in prefixes)
    return lambda subject, _unit, _now: subject.get(":path", b"").startswith(starts)


def _regions(country_header: str, region_header: str, codes: frozenset[bytes]) -> Matcher:
    return lambda subject, _unit, _now: subject.get(country_header, b"") + b"-" + subject.get(region_header, b"") in codes


def _unit_in(ids: frozenset[bytes]) -> Matcher:
    return lambda _subject, unit, _now: unit in ids


def _random(prefix: bytes, below: int) -> Matcher:
    return lambda _subject, unit, _now: xxh3_64_intdigest(prefix + unit) >> 32 < below


def _host_is(hosts: frozenset[bytes]) -> Matcher:
    def matches(subject: Subject, _unit: bytes, _now: float) -> bool:
        authority = subject.get(":authority", b"").lower()
        return authority in hosts or authority.rpartition(b":")[0] in hosts

    return matches


def _cookie(name: str) -> Reader:
    wanted = name.encode() + b"="

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
    wanted = [(name, attribute) for name, attribute in attributes.items() if name in flag.needs]
    units = [(name, _typed(attribute.type)) for name, attribute in wanted if attribute.fact is None]
    others = [(name, _single(attribute.fact), _typed(attribute.type)) for name, attribute in wanted if attribute.fact is not None]
    evaluate = flag.evaluate

    def matches(subject: Subject, unit: bytes, now: float) -> bool:
        given: dict[str, Any] = {}
        for name, typed in units:
            if unit and (value := typed(unit)) is not None:
                given[name] = value
        for name, read, typed in others:
            found = read(subject)
            if found and (value := typed(found)) is not None:
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


def _typed(kind: AttributeType) -> Callable[[bytes], Any]:
    if kind is AttributeType.NUMBER:
        return _number
    return _boolean if kind is AttributeType.BOOLEAN else _text


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


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
