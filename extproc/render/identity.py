"""Who the client is, as Envoy itself finds out: the place of its address (geoip), the claims of its token (jwt_authn)."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from extproc import contract
from extproc.domain import Jwt, Spec
from extproc.render.yamltext import Block, typed

JWKS_CLUSTER: Final = "extproc_jwks"
"""Where the keys of `listener.jwt.jwks_uri` are fetched."""
PROVIDER: Final = "listener"
"""Name of the one issuer inside the filter's configuration."""


def looked_up(spec: Spec) -> dict[str, str]:
    """What the databases that are there tell -> the header that gets it.

    A country comes from the country database, or from that of cities where there is no other; regions are in that of cities alone.
    """
    geoip, identity = spec.listener.geoip, spec.identity
    if geoip is None:
        return {}
    known = {
        "country": (geoip.country or geoip.city, identity.country_header),
        "region": (geoip.city, identity.region_header),
        "asn": (geoip.asn, identity.asn_header),
    }
    return {field: header for field, (database, header) in known.items() if database is not None}


def geoip_filter(spec: Spec) -> Block | None:
    """Looks the client's address up in each database; None where the Spec names none."""
    geoip = spec.listener.geoip
    if geoip is None:
        return None
    paths = {"country_db_path": geoip.country, "city_db_path": geoip.city, "asn_db_path": geoip.asn}
    maxmind = typed(
        "geoip_providers.maxmind.v3.MaxMindConfig",
        **{field: path for field, path in paths.items() if path is not None},
        common_provider_config={"geo_field_keys": looked_up(spec)},
    )
    provider = {"name": "envoy.geoip_providers.maxmind", "typed_config": maxmind}
    hops = {"xff_num_trusted_hops": spec.listener.trusted_hops}
    return {"name": "envoy.filters.http.geoip", "typed_config": typed("filters.http.geoip.v3.Geoip", xff_config=hops, provider=provider)}


def jwt_filter(jwt: Jwt) -> Block:
    """Verifies a bearer token where there is one. Without a valid one a request passes, without claims: it is nobody in particular.

    Only the header counts: by default Envoy looks at a query parameter too, which would reach the model.
    """
    provider: Block = {"issuer": jwt.issuer}
    if jwt.audiences:
        provider["audiences"] = list(jwt.audiences)
    provider |= {
        **_keys(jwt),
        "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}],
        "forward": True,
        "payload_in_metadata": contract.JWT_FIELD,
    }
    either: list[Block] = [{"provider_name": PROVIDER}, {"allow_missing_or_failed": {}}]
    rules = [{"match": {"prefix": "/"}, "requires": {"requires_any": {"requirements": either}}}]
    config = typed("filters.http.jwt_authn.v3.JwtAuthentication", providers={PROVIDER: provider}, rules=rules)
    # A name of its own: routes of a foreign Envoy may configure a jwt_authn filter of theirs. The claims' namespace is Envoy's in any case.
    return {"name": "extproc.jwt", "typed_config": config}


def jwks_address(jwt: Jwt) -> tuple[str, int] | None:
    """Host and port that keys are fetched from; None where they are in a file."""
    if jwt.jwks_uri is None:
        return None
    parts = urlsplit(jwt.jwks_uri)
    return parts.hostname or "", parts.port or 443


def _keys(jwt: Jwt) -> dict[str, Any]:
    if jwt.jwks_uri is None:
        return {"local_jwks": {"filename": jwt.jwks_file}}
    # Fetched before the listener opens, and again before they are old: no request waits, and none is nobody for want of keys.
    remote = {
        "http_uri": {"uri": jwt.jwks_uri, "cluster": JWKS_CLUSTER, "timeout": "5s"},
        "cache_duration": "300s",
        "async_fetch": {"failed_refetch_duration": "1s"},
    }
    return {"remote_jwks": remote}
