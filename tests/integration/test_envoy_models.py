"""What leaves for a model, on the real Envoy: its own key, host and path, over TLS; and nothing that is not its business."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest
import trustme

from extproc.render import Profile
from tests.support.envoy_stand import OLD_ENVOY, Model, Stand, a_rollout, document, standing

ENVIRONMENT = {"EXTPROC_TEST_KEY": "sk-from-the-environment"}
CLIENT_HEADERS = {
    "x_user_id": "somebody",
    "x_user_tier": "internal",
    "x_geo_country": "DE",
    "x_feature": "beta",
    "cookie": "session=secret; llm_uid=abc",
    "authorization": "Bearer sk-of-the-client",
    "x_llm_cluster": "canary",
    "x_llm_variant_prompt": "long",
    "x_llm_anything": "1",
    "x_forwarded_for": "198.18.64.9",
    "x_forwarded_host": "inner.example",
    "forwarded": "for=198.18.64.9",
    "x_envoy_original_path": "/inner",
    "x_envoy_expected_rq_timeout_ms": "5",
    "x_harmless": "stays",
}


@pytest.fixture(scope="module", params=[Profile.FULL, Profile.CORE])
def stand(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """One TLS server is the host of all models; Envoy knows only the test's own authority."""
    directory = tmp_path_factory.mktemp(request.param)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("llm.example", "127.0.0.1").configure_cert(context)
    vendor = Model("vendor", context)
    (directory / "key").write_text("sk-from-a-file\n")

    def endpoint(**tls: str) -> dict[str, object]:
        return vendor.endpoint | {"tls": {"ca_file": str(directory / "ca.pem"), **tls}}

    named = endpoint(sni="llm.example")
    models = {
        "old": {"endpoint": named, "host_rewrite": "old.llm.example", "credential": {"env": "EXTPROC_TEST_KEY"}},
        "new": {
            "endpoint": named,
            "host_rewrite": "new.llm.example",
            "path_rewrite": {"prefix": "/v1", "to": "/deployments/new.1"},
            "credential": {"header": "api-key", "prefix": "", "file": str(directory / "key")},
        },
        "by-address": {"endpoint": endpoint(), "credential": {"prefix": "Key 100% ", "file": str(directory / "key")}},
        "impostor": {"endpoint": endpoint(sni="other.example")},
    }
    nobody = [{"name": "nobody", "header": {"x-feature": ["never"]}, "tier": ["never"], "country": ["AQ"]}]
    rollouts = {
        "chat": a_rollout("50%", {"paths": ["/v1/"]}),
        "impostor": a_rollout("100%", {"paths": ["/impostor/"]}, nobody, stable="impostor", canary="new"),
    }
    listener = {
        "kind": "edge",
        "default_model": "by-address",
        "set_by": dict.fromkeys(("x-user-id", "x-user-tier", "x-geo-country", "x-feature"), "the test"),
    }
    envoy = OLD_ENVOY if request.param is Profile.CORE else None
    with standing(
        document(listener, models, rollouts), {"vendor": vendor}, directory, profile=request.param, envoy=envoy, environment=ENVIRONMENT
    ) as made:
        yield made


def users(stand: Stand) -> tuple[str, str]:
    """A user of each model: the vendor's name for them is the host."""
    found: dict[str | None, str] = {}
    for number in range(60):
        stand.answered("/v1/chat", x_user_id=f"user-{number}")
        found.setdefault(stand.last("vendor").header("host"), f"user-{number}")
    return found["old.llm.example"], found["new.llm.example"]


def test_each_model_gets_its_own_key_host_and_path(stand: Stand) -> None:
    """Two models behind one address are told apart by host, path and key; the client's key reaches neither."""
    on_old, on_new = users(stand)
    for user, host, path, key in (
        (on_old, "old.llm.example", "/v1/chat?n=1", ("authorization", "Bearer sk-from-the-environment")),
        (on_new, "new.llm.example", "/deployments/new.1/chat?n=1", ("api-key", "sk-from-a-file")),
    ):
        stand.answered("/v1/chat?n=1", **(CLIENT_HEADERS | {"x_user_id": user, "api_key": "of the client"}))
        arrived = stand.last("vendor")
        assert (arrived.header("host"), arrived.path) == (host, path)
        assert arrived.header(key[0]) == key[1]
        assert "sk-of-the-client" not in str(arrived.headers)
        assert "of the client" not in str(arrived.headers)


def test_a_model_sees_nothing_of_the_user_and_nothing_of_ours(stand: Stand) -> None:
    """Exactly these headers leave for a vendor, in both arms and on the default route: no identity, no cookie, no address."""
    expected = {"host", "accept", "user-agent", "content-type", "content-length", "x-request-id", "x-harmless"}
    for user in users(stand):
        for path in ("/v1/chat", "/default"):
            stand.answered(path, **(CLIENT_HEADERS | {"x_user_id": user}))
            assert stand.last("vendor").names - {"authorization", "api-key"} == expected


def test_what_matches_no_rollout_gets_the_default_model(stand: Stand) -> None:
    """By an address instead of a name, with a prefix of its own before the key; a newline at the end of a key file is no part of it."""
    stand.answered("/default", x_user_id="anyone")
    arrived = stand.last("vendor")
    assert arrived.header("authorization") == "Key 100% sk-from-a-file"
    assert arrived.path == "/default"


def test_an_impostor_gets_nothing(stand: Stand) -> None:
    """A certificate for another name is refused before a byte of the request is sent."""
    before = len(stand.models["vendor"].requests)
    assert stand.ask("/impostor/chat", x_user_id="anyone").status_code == 503
    assert len(stand.models["vendor"].requests) == before


def test_no_key_is_in_the_files_or_the_admin_interface(stand: Stand) -> None:
    """The configuration names where keys are; Envoy's own dump hides what it read."""
    dump = stand.admin.get("/config_dump").text
    for text in ((stand.directory / "envoy.yaml").read_text(), dump):
        assert "sk-from" not in text
    assert "EXTPROC_TEST_KEY" in (stand.directory / "envoy.yaml").read_text()
