"""Conditions of a Spec as closures over bytes: requests, cohorts and units. Built once, called per request.

Header values are compared as raw bytes, exactly; countries and hosts are compared in the case in which Envoy delivers them (upper
and lower). An empty value is no value.
"""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

from extproc.assign.snapshot import Matcher, UnitSource
from extproc.domain import Cohort, Match, Source, SourceKind, Spec, Subject

REQUEST_MODEL = "extproc.request.model"
"""Key of the requested model in a Subject (the same as `contract.REQUEST_MODEL`; a test keeps them equal)."""
REQUEST_ID = "x-request-id"


class Headers(NamedTuple):
    """Names of the identity headers that the Spec chooses."""

    tier: str
    country: str


def request_matcher(match: Match) -> Matcher | None:
    """All given conditions hold; None if there is none."""
    conditions: list[Matcher] = []
    if match.hosts:
        conditions.append(_host_is(frozenset(host.encode() for host in match.hosts)))
    if match.paths:
        conditions.append(_path_starts(tuple(path.encode() for path in match.paths)))
    if match.models:
        conditions.append(_value_in(REQUEST_MODEL, frozenset(model.encode() for model in match.models)))
    return _all(conditions)


def cohort_matcher(cohort: Cohort, headers: Headers) -> Matcher | None:
    """All conditions of a cohort except its random share (which needs the unit); None if there is none."""
    conditions: list[Matcher] = []
    if cohort.countries:
        conditions.append(_value_in(headers.country, frozenset(country.encode() for country in cohort.countries)))
    if cohort.tiers:
        conditions.append(_value_in(headers.tier, frozenset(tier.encode() for tier in cohort.tiers)))
    conditions.extend(_value_in(rule.name, frozenset(value.encode() for value in rule.values)) for rule in cohort.headers)
    return _all(conditions)


def unit_source(source: Source) -> UnitSource:
    """A unit's id from a header, a cookie, or an API key (hashed: the key itself goes no further)."""
    if source.kind is SourceKind.HEADER:
        return _header(source.name)
    if source.kind is SourceKind.API_KEY:
        return _api_key(source.name)
    return _cookie(source.name)


def needed_headers(spec: Spec) -> frozenset[str]:
    """Headers that a decision under this Spec may look at; Envoy forwards only these."""
    needed = {REQUEST_ID}
    for rollout in spec.rollouts.values():
        if rollout.match.hosts:
            needed.add(":authority")
        if rollout.match.paths:
            needed.add(":path")
        for source in rollout.unit.sources:
            needed.add("cookie" if source.kind is SourceKind.COOKIE else source.name)
        for cohort in rollout.cohorts:
            if cohort.countries:
                needed.add(spec.country_header)
            if cohort.tiers:
                needed.add(spec.tier_header)
            needed.update(rule.name for rule in cohort.headers)
    return frozenset(needed)


def _all(conditions: list[Matcher]) -> Matcher | None:
    if not conditions:
        return None
    # Pairs of calls and no loop: a generator would cost more than the conditions themselves.
    every, *others = conditions
    for other in others:
        every = _both(every, other)
    return every


def _both(one: Matcher, other: Matcher) -> Matcher:
    return lambda subject: one(subject) and other(subject)


def _value_in(name: str, values: frozenset[bytes]) -> Matcher:
    return lambda subject: subject.get(name) in values


def _path_starts(prefixes: tuple[bytes, ...]) -> Matcher:
    return lambda subject: subject.get(":path", b"").startswith(prefixes)


def _host_is(hosts: frozenset[bytes]) -> Matcher:
    def matches(subject: Subject) -> bool:
        authority = subject.get(":authority", b"").lower()
        return authority in hosts or authority.rpartition(b":")[0] in hosts

    return matches


def _header(name: str) -> UnitSource:
    return lambda subject: subject.get(name) or None


def _api_key(name: str) -> UnitSource:
    def source(subject: Subject) -> bytes | None:
        key = subject.get(name, b"")
        if key[:7].lower() == b"bearer ":
            key = key[7:]
        key = key.strip()
        return sha256(key).hexdigest().encode() if key else None

    return source


def _cookie(name: str) -> UnitSource:
    wanted = name.encode() + b"="

    def source(subject: Subject) -> bytes | None:
        header = subject.get("cookie")
        if header is None or wanted not in header:
            return None
        for pair in header.split(b";"):
            pair = pair.strip()
            if pair.startswith(wanted):
                return pair[len(wanted) :].strip(b'"') or None
        return None

    return source
