"""Blocks about the application, its listener and its users' identity."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from extproc.domain import ApplicationType, Infrastructure, ListenerKind
from extproc.domain.serving import USUAL_PEAK
from extproc.spec.document.base import Block, Count, Country, Duration, GroupName, Header, Name, Percent, Port, Text, Texts, headers
from extproc.spec.document.serving import TokensBlock
from extproc.spec.document.tracing import TracingBlock


class SlaBlock(Block):
    """What users were promised."""

    latency_p99: Annotated[Duration, Field(gt=0, description="Time in which 99 of 100 requests end; also a request's deadline.")]
    ttft: Annotated[Duration, Field(gt=0, description="Time to the first token.")]
    uptime: Annotated[Percent, Field(gt=0, lt=1, description="Requests that must succeed.")]


class ApplicationBlock(Block):
    """The application that the release is about."""

    name: Annotated[Name, Field(description="Name in dashboards and reports.")]
    type: Annotated[ApplicationType, Field(strict=False, description="What it does; chooses defaults of later measures.")]
    daily_requests: Annotated[Count, Field(description="LLM requests on a usual day.")]
    daily_units: Annotated[Count, Field(description="Distinct units (users, tenants) active on a usual day.")]
    sla: Annotated[SlaBlock, Field(description="Service levels.")]
    infrastructure: Annotated[Infrastructure, Field(strict=False, description="Where it runs.")]
    watch_lease: Annotated[
        Duration,
        Field(
            ge=3,
            le=300,
            description="Time without a watcher, or without outcomes, after which canary traffic goes to stable.",
            json_schema_extra={"default": "15s"},
        ),
    ] = 15.0
    peak: Annotated[
        float, Field(ge=1, le=1000, strict=False, description="Requests in the busiest minutes, as a multiple of the day's mean.")
    ] = USUAL_PEAK
    tokens: Annotated[TokensBlock, Field(description="Tokens of a mean request, for costs; by default those of the type.")] = TokensBlock()


class GeoipBlock(Block):
    """Envoy's geoip filter: MaxMind-schema databases (.mmdb), as paths on Envoy's machine."""

    database: Annotated[Text | None, Field(description="Countries.")] = None
    city: Annotated[Text | None, Field(description="Cities: regions, and countries where there is no database of countries.")] = None
    asn: Annotated[Text | None, Field(description="Autonomous systems.")] = None

    @model_validator(mode="after")
    def _one_at_least(self) -> GeoipBlock:
        if not (self.database or self.city or self.asn):
            raise ValueError("name at least one of database, city and asn")
        return self


class JwtBlock(Block):
    """Tokens that Envoy verifies, for cohorts and units by claim; a request without a valid one passes, without claims."""

    issuer: Annotated[Text, Field(description="The `iss` claim.")]
    audiences: Annotated[Texts | None, Field(description="Accepted `aud` claims; any by default.")] = None
    jwks_file: Annotated[Text | None, Field(description="Keys (JWKS), as a path on Envoy's machine.")] = None
    jwks_uri: Annotated[Text | None, Field(pattern="^https://", description="Keys (JWKS) over HTTPS.")] = None

    @model_validator(mode="after")
    def _one_reference(self) -> JwtBlock:
        if (self.jwks_file is None) == (self.jwks_uri is None):
            raise ValueError("name exactly one of jwks_file and jwks_uri")
        return self


class ListenerBlock(Block):
    """The Envoy listener in front of the application."""

    kind: Annotated[
        ListenerKind, Field(strict=False, description="edge: clients are strangers. internal: their identity headers are trusted.")
    ]
    address: Annotated[Text, Field(description="Address to listen on.")] = "0.0.0.0"  # noqa: S104 - Envoy's side, meant to be public
    port: Annotated[Port, Field(description="Port to listen on.")] = 8080
    trusted_hops: Annotated[int, Field(ge=0, le=16, description="Proxies in front whose x-forwarded-for entries are believed.")] = 0
    geoip: Annotated[GeoipBlock | None, Field(description="Look countries, regions and networks up in databases.")] = None
    jwt: Annotated[JwtBlock | None, Field(description="Verify tokens and believe their claims.")] = None
    set_by: Annotated[
        dict[Header, Text],
        BeforeValidator(headers),
        Field(
            description="Identity header: who sets it in front of Envoy, overwriting what clients send. All others are stripped at an edge."
        ),
    ] = {}
    admin_port: Annotated[Port, Field(description="Envoy's admin port, on loopback.")] = 9901
    default_model: Annotated[Name | None, Field(description="Model of requests that match no rollout; without it they get 404.")] = None
    tracing: Annotated[TracingBlock | None, Field(description="Traces for OpenTelemetry; without this block there are none.")] = None


class IdentityBlock(Block):
    """Headers that say who a user is."""

    tier_header: Annotated[Header, Field(description="Header with the user's tier.")] = "x-user-tier"
    country_header: Annotated[Header, Field(description="Header with the ISO country code.")] = "x-geo-country"
    region_header: Annotated[Header, Field(description="Header with the ISO subdivision, without its country.")] = "x-geo-region"
    asn_header: Annotated[Header, Field(description="Header with the number of the autonomous system.")] = "x-geo-asn"
    country_groups: Annotated[
        dict[GroupName, list[Country]], Field(description="Your own names for lists of countries, upper case, beside EU, EEA, DACH ...")
    ] = {}
