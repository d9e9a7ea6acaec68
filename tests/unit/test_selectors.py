"""Selectors and sources, compiled: what each of them reads of a request, and what it never takes for a match."""

from __future__ import annotations

import hashlib

import pytest

from extproc import contract
from extproc.assign import assign
from extproc.assign.selectors import reader
from extproc.assign.units import unit_source
from extproc.domain import Among, Fact, FactKind, PathStarts, Regions, Selector, Source, SourceKind, Subject
from tests.support.assigning import NOW, compiled, found
from tests.support.specs import cohort, countries, header, ids, rollout, tiers


def matches(selector: Selector, subject: Subject) -> bool:
    """Through the whole of assign."""
    snapshot = compiled(rollout(cohorts=(cohort("some", selector),)))
    return found(assign(snapshot.layers[0], {"x-user-id": b"u1", **subject}, None, NOW)).cohort == "some"


CLAIM = Among(Fact(FactKind.CLAIM, "realm.roles"), ("staff", "beta"))
ROLES = contract.CLAIM_PREFIX + "realm.roles"
COOKIE = Among(Fact(FactKind.COOKIE, "beta"), ("1",))
REGION = Regions("x-geo-country", "x-geo-region", ("GB-ENG", "US-CA"))


@pytest.mark.parametrize(
    ("selector", "subject", "met"),
    [
        (countries("DE"), {"x-geo-country": b"DE"}, True),
        (countries("DE"), {"x-geo-country": b"de"}, False),
        (countries("DE"), {"x-geo-country": b""}, False),
        (countries("DE"), {}, False),
        (tiers("gold", "paid"), {"x-user-tier": b"paid"}, True),
        (tiers("gold"), {"x-user-tier": b"gold "}, False),
        (header("x-flag", "ü"), {"x-flag": "ü".encode()}, True),
        (header("x-flag", "ü"), {"x-flag": b"\xfc"}, False),
        (REGION, {"x-geo-country": b"GB", "x-geo-region": b"ENG"}, True),
        (REGION, {"x-geo-country": b"US", "x-geo-region": b"ENG"}, False),
        (REGION, {"x-geo-region": b"ENG"}, False),
        (REGION, {"x-geo-country": b"GB-ENG"}, False),
        (Among(Fact(FactKind.HEADER, "x-geo-asn"), ("3320",)), {"x-geo-asn": b"3320"}, True),
        (COOKIE, {"cookie": b"a=b; beta=1; c=d"}, True),
        (COOKIE, {"cookie": b'beta="1"'}, True),
        (COOKIE, {"cookie": b"xbeta=1"}, False),
        (COOKIE, {"cookie": b"xbeta=1;beta=2"}, False),
        (COOKIE, {"cookie": b"beta=2; beta=1"}, False),
        (COOKIE, {"cookie": b""}, False),
        (CLAIM, {ROLES: b"staff"}, True),
        (CLAIM, {ROLES: b"user\0beta"}, True),
        (CLAIM, {ROLES: b"user\0betamax"}, False),
        (CLAIM, {ROLES: b""}, False),
        (CLAIM, {}, False),
        (CLAIM, {"realm.roles": b"staff"}, False),
        (Among(Fact(FactKind.MODEL), ("o3",)), {contract.REQUEST_MODEL: b"o3"}, True),
        (Among(Fact(FactKind.MODEL), ("o3",)), {"model": b"o3"}, False),
        (PathStarts(("/v1/", "/v2/")), {":path": b"/v2/chat?x=1"}, True),
        (PathStarts(("/v1/",)), {":path": b"/v10/"}, False),
        (PathStarts(("/v1/",)), {}, False),
        (ids("u1", "u2"), {}, True),
        (ids("u2"), {}, False),
    ],
)
def test_what_each_test_reads(selector: Selector, subject: Subject, met: bool) -> None:
    """Exact bytes; what is empty or not there meets nothing; of a list, one entry is enough; a cookie counts with its first value."""
    assert matches(selector, subject) is met


def test_a_list_of_ids_costs_the_same_at_any_length() -> None:
    """A hundred thousand ids are one set: nobody outside is in, everybody inside is."""
    many = ids(*(f"u{number}" for number in range(0, 200_000, 2)))
    assert not matches(many, {})
    assert matches(many, {"x-user-id": b"u199998"})
    assert not matches(many, {"x-user-id": b"u200000"})


@pytest.mark.parametrize(
    ("source", "subject", "unit"),
    [
        (Source(SourceKind.HEADER, "x-user-id"), {"x-user-id": b" u1"}, b" u1"),
        (Source(SourceKind.COOKIE, "uid"), {"cookie": b"uid=u1"}, b"u1"),
        (Source(SourceKind.COOKIE, "uid"), {"cookie": b"uid="}, b""),
        (Source(SourceKind.CLAIM, "sub"), {contract.CLAIM_PREFIX + "sub": b"u1"}, b"u1"),
        (Source(SourceKind.CLAIM, "sub"), {contract.CLAIM_PREFIX + "sub": b"u1\0u2"}, b""),
        (Source(SourceKind.CLAIM, "sub"), {"sub": b"u1"}, b""),
        (Source(SourceKind.API_KEY, "authorization"), {"authorization": b"Bearer  "}, b""),
        (Source(SourceKind.API_KEY, "authorization"), {"authorization": b""}, b""),
        (Source(SourceKind.API_KEY, "authorization"), {}, b""),
    ],
)
def test_where_an_id_comes_from(source: Source, subject: Subject, unit: bytes) -> None:
    """A claim that is a list names nobody, and an empty value is no id."""
    assert unit_source(source)(subject) == unit


def test_an_api_key_goes_no_further() -> None:
    """Its SHA-256 in hex is the unit, however it is spelled."""
    source = unit_source(Source(SourceKind.API_KEY, "authorization"))
    units = {source({"authorization": spelled}) for spelled in (b"Bearer sk-1", b"bearer sk-1", b"sk-1", b"  sk-1 ", b"BEARER  sk-1")}
    assert units == {hashlib.sha256(b"sk-1").hexdigest().encode()}
    (unit,) = units
    assert len(unit) == 64
    assert b"sk-1" not in unit


def test_every_fact_has_a_reader() -> None:
    """And none of them raises where nothing is there."""
    for kind in FactKind:
        assert reader(Fact(kind, "name"))({}) == b""
