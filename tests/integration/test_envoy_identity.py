"""Who the client is, as the real Envoy finds out: claims of verified tokens, country, region and network of the address."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme
from google.protobuf.json_format import MessageToDict
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from extproc import contract
from extproc.demo.processes import free_port
from extproc.render import Profile
from tests.support.envoy_stand import OLD_ENVOY, Model, a_rollout, document
from tests.support.scripted import Scripted, scripted
from tests.support.stream import eventually
from tests.support.tokens import Issuer, serving

ISSUER, AUDIENCE = "https://login.example", "llm"
LATER = 4_000_000_000
CLAIMS = {"iss": ISSUER, "aud": [AUDIENCE, "other"], "sub": "u-7", "exp": LATER, "plan": {"tier": "gold"}, "groups": ["a", "b"]}


def claims_rollout() -> dict[str, Any]:
    """A unit and a cohort by claim."""
    gold = [{"name": "gold", "claim": {"plan.tier": ["gold"]}}, {"name": "everyone"}]
    return a_rollout("50%", {"paths": ["/v1/"]}, gold, unit={"sources": [{"claim": "sub"}, {"api_key": "authorization"}]})


def told(stand: Scripted) -> dict[str, Any]:
    """The claims that the router got."""
    found = stand.answerer.messages[-1].metadata_context.filter_metadata
    assert set(found) <= {contract.JWT_NAMESPACE}
    return MessageToDict(found[contract.JWT_NAMESPACE])[contract.JWT_FIELD] if contract.JWT_NAMESPACE in found else {}


# ----------------------------------------------------------------------------------------------------------------------- tokens
@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module", params=[Profile.FULL, Profile.CORE])
def stand(request: pytest.FixtureRequest, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    """Keys from a file."""
    directory = tmp_path_factory.mktemp("jwt")
    (directory / "jwks.json").write_bytes(issuer.jwks)
    models = {name: Model(name) for name in ("old", "new")}
    jwt = {"issuer": ISSUER, "audiences": [AUDIENCE], "jwks_file": str(directory / "jwks.json")}
    written = document(
        {"kind": "edge", "jwt": jwt}, {name: {"endpoint": model.endpoint} for name, model in models.items()}, {"chat": claims_rollout()}
    )
    envoy = OLD_ENVOY if request.param is Profile.CORE else None
    with scripted(written, models, directory, profile=request.param, envoy=envoy) as made:
        yield made


def test_claims_of_a_valid_token_reach_the_router(stand: Scripted, issuer: Issuer) -> None:
    """All of them, lists and nested ones as they are."""
    assert stand.answered("new", authorization=f"Bearer {issuer.token(CLAIMS)}") == "new"
    assert told(stand) == CLAIMS


@pytest.mark.parametrize(
    "wrong",
    [{"exp": 1_000_000_000}, {"iss": "https://evil.example"}, {"aud": "another"}, {"nbf": LATER}],
    ids=["expired", "issuer", "audience", "not-yet"],
)
def test_a_token_that_is_not_valid_is_nobodys(stand: Scripted, issuer: Issuer, wrong: Mapping[str, Any]) -> None:
    """The request passes, without claims."""
    assert stand.answered("old", authorization=f"Bearer {issuer.token(CLAIMS | wrong)}") == "old"
    assert told(stand) == {}


def test_a_forged_token_is_nobodys(stand: Scripted, issuer: Issuer) -> None:
    """Signed with another key, changed behind its signature, signed by nobody, or no token at all: the request passes, without claims."""
    head, _, signature = issuer.token(CLAIMS).split(".")
    _, other, _ = issuer.token(CLAIMS | {"sub": "admin"}).split(".")
    unsigned = ".".join([*issuer.token(CLAIMS, algorithm="none").split(".")[:2], ""])
    for forged in (Issuer().token(CLAIMS), f"{head}.{other}.{signature}", unsigned, "sk-key", "a.b.c"):
        assert stand.answered("old", authorization=f"Bearer {forged}") == "old", forged
        assert told(stand) == {}, forged
    assert stand.answered("old") == "old"
    assert told(stand) == {}


def test_a_token_in_the_path_is_not_believed(stand: Scripted, issuer: Issuer) -> None:
    """Envoy would look there by default, and the model would get it."""
    stand.answered("old", f"/v1/chat?access_token={issuer.token(CLAIMS)}")
    assert told(stand) == {}


def test_a_token_stays_at_the_door(stand: Scripted, issuer: Issuer) -> None:
    """The router may use it as an API key; no model sees it, though none has a key of its own here."""
    for token in (issuer.token(CLAIMS), "sk-key"):
        stand.answered("new", authorization=f"Bearer {token}")
        assert stand.answerer.headers["authorization"] == f"Bearer {token}"
        assert "authorization" not in stand.last("new").names


@pytest.mark.parametrize(("profile", "envoy"), [(Profile.FULL, None), (Profile.CORE, OLD_ENVOY)])
def test_keys_are_fetched_over_tls(issuer: Issuer, tmp_path: Path, profile: Profile, envoy: Path | None) -> None:
    """Before the listener opens where they are there; where not, tokens are nobody's until they are, and no request fails or waits."""
    authority, context, port = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), free_port()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("localhost").configure_cert(context)
    models = {name: Model(name) for name in ("old", "new")}
    jwt = {"issuer": ISSUER, "jwks_uri": f"https://localhost:{port}/keys?v=1"}
    written = document(
        {"kind": "edge", "jwt": jwt}, {name: {"endpoint": model.endpoint} for name, model in models.items()}, {"chat": claims_rollout()}
    )
    bearer = {"authorization": f"Bearer {issuer.token(CLAIMS)}"}
    with scripted(written, models, tmp_path, profile=profile, envoy=envoy, ca_bundle=tmp_path / "ca.pem") as stand:
        took = []
        for _ in range(3):
            begun = time.monotonic()
            assert stand.answered("old", **bearer) == "old"
            took.append(time.monotonic() - begun)
        # The machine may be late by itself, but not each time.
        assert min(took) < 1, took
        assert told(stand) == {}
        with serving(issuer.jwks, context, port) as asked:
            eventually(lambda: stand.answered("new", **bearer) == "new" and told(stand) == CLAIMS)
            assert set(asked) == {"/keys?v=1"}
        assert stand.drift() == []


# -------------------------------------------------------------------------------------------------------------------- addresses
LONDON, SWEDEN, NOWHERE = "198.18.1.9", "198.18.2.9", "203.0.113.9"
"""Documentation and benchmark addresses: nobody's."""


def write_databases(directory: Path) -> tuple[Path, Path]:
    """Cities and networks, of MaxMind's schema: England with a network, a Swedish region without."""
    cities = MMDBWriter(ip_version=4, database_type="extproc-test-City", languages=["en"], description="test")
    for network, country, region in (("198.18.1.0/24", "GB", "ENG"), ("198.18.2.0/24", "SE", "E")):
        cities.insert_network(IPSet([network]), {"country": {"iso_code": country}, "subdivisions": [{"iso_code": region}]})
    networks = MMDBWriter(ip_version=4, database_type="extproc-test-ASN", languages=["en"], description="test", int_type="u32")
    networks.insert_network(IPSet(["198.18.1.0/24"]), {"autonomous_system_number": 64500, "autonomous_system_organization": "Example"})
    paths = directory / "city.mmdb", directory / "asn.mmdb"
    cities.to_db_file(str(paths[0]))
    networks.to_db_file(str(paths[1]))
    return paths


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    """An edge that knows cities and networks, and no countries of their own."""
    directory = tmp_path_factory.mktemp("geo")
    city, asn = write_databases(directory)
    models = {name: Model(name) for name in ("old", "new")}
    england = [{"name": "england", "region": ["GB-ENG"]}, {"name": "network", "asn": [64500]}, {"name": "eu", "country": ["EU"]}]
    listener = {"kind": "edge", "trusted_hops": 1, "geoip": {"city": str(city), "asn": str(asn)}, "set_by": {"x-user-id": "the test"}}
    blocks = {name: {"endpoint": model.endpoint} for name, model in models.items()}
    with scripted(document(listener, blocks, {"chat": a_rollout("50%", {"paths": ["/v1/"]}, england)}), models, directory) as made:
        yield made


FORGED = {"x_geo_country": "DE", "x_geo_region": "BY", "x_geo_asn": "1"}


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (LONDON, {"x-geo-country": "GB", "x-geo-region": "ENG", "x-geo-asn": "64500"}),
        (SWEDEN, {"x-geo-country": "SE", "x-geo-region": "E"}),
        (NOWHERE, {}),
    ],
)
def test_country_region_and_network_come_from_the_address(placed: Scripted, address: str, expected: dict[str, str]) -> None:
    """The country from the database of cities, where there is no other; what a client says is gone, found or not, and so is all of it
    before a model."""
    placed.answered("new", x_forwarded_for=address, **FORGED)
    assert {name: value for name, value in placed.answerer.headers.items() if name.startswith("x-geo-")} == expected
    assert not any(name.startswith("x-geo-") for name in placed.last("new").names)


def test_the_doctor_finds_what_was_rendered(placed: Scripted) -> None:
    """Databases of cities and networks."""
    assert placed.drift() == []
