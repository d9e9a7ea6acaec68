"""The Spec as people write it: one pydantic model per block of the file. Unknown keys are refused.

From these come the parser's shape checks and the JSON Schema for editors; `resolve` turns them into the nouns of `domain`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from extproc.domain import ApplicationType, Infrastructure, ListenerKind, StartMode
from extproc.measures import MEASURES
from extproc.spec import units

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,62}$"
COUNTRY_PATTERN = r"^[A-Z]{2}$"
COOKIE_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
HEADER_PATTERN = r"^[!#$%&'*+.^_`|~0-9a-z-]{1,128}$"


def _printable(value: Any) -> Any:
    # Such values end up in headers, where CR or LF would be answered to clients with 500 (seen on Envoy 1.40).
    if isinstance(value, str) and any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError("holds a control character")
    return value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _headers(value: Any) -> Any:
    # Header names have no case: written twice in different case, one of them would be lost silently.
    names = [key.lower() for key in value if isinstance(key, str)] if isinstance(value, dict) else []
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"header {twice[0]!r} is there twice, in different case")
    return value


def _tls(value: Any) -> Any:
    if isinstance(value, bool):
        return TlsBlock() if value else None
    if not isinstance(value, dict):
        raise ValueError("must be true, false, or a block with sni and ca_file")
    return value


def _true_or_block(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [{"type": "boolean"} if one == {"type": "null"} else one for one in schema["anyOf"]]
    schema["default"] = False


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Text = Annotated[str, Field(min_length=1, max_length=1024), BeforeValidator(_printable)]
Name = Annotated[str, Field(pattern=NAME_PATTERN), BeforeValidator(_printable)]
Header = Annotated[str, BeforeValidator(_lower), Field(pattern=HEADER_PATTERN)]
Country = Annotated[str, Field(pattern=COUNTRY_PATTERN)]
Texts = Annotated[list[Text], BeforeValidator(_listed), Field(min_length=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=1, le=10**12)]
Duration = Annotated[
    float,
    BeforeValidator(units.duration),
    WithJsonSchema({"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|[smhd]) *)+$", "examples": ["500ms", "8s", "30m", "1h30m"]}),
]
Percent = Annotated[
    float,
    BeforeValidator(units.share),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? *%$", "examples": ["1%", "99.9%"]}),
]
Dollars = Annotated[
    Decimal, BeforeValidator(units.money), WithJsonSchema({"type": "string", "pattern": r"^\$ *[0-9]+(\.[0-9]+)?$", "examples": ["$2.50"]})
]
MeasureName = Annotated[str, WithJsonSchema({"type": "string", "enum": sorted(MEASURES)})]


class Block(BaseModel):
    """A block of the file: unknown keys are refused, values are not converted silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


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


class GeoipBlock(Block):
    """Envoy's geoip filter."""

    database: Annotated[Text, Field(description="MaxMind-schema country database (.mmdb), as a path on Envoy's machine.")]


class ListenerBlock(Block):
    """The Envoy listener in front of the application."""

    kind: Annotated[
        ListenerKind, Field(strict=False, description="edge: clients are strangers. internal: their identity headers are trusted.")
    ]
    address: Annotated[Text, Field(description="Address to listen on.")] = "0.0.0.0"  # noqa: S104 - Envoy's side, meant to be public
    port: Annotated[Port, Field(description="Port to listen on.")] = 8080
    trusted_hops: Annotated[int, Field(ge=0, le=16, description="Proxies in front whose x-forwarded-for entries are believed.")] = 0
    geoip: Annotated[GeoipBlock | None, Field(description="Look countries up in a database.")] = None
    set_by: Annotated[
        dict[Header, Text],
        BeforeValidator(_headers),
        Field(
            description="Identity header: who sets it in front of Envoy, overwriting what clients send. All others are stripped at an edge."
        ),
    ] = {}
    admin_port: Annotated[Port, Field(description="Envoy's admin port, on loopback.")] = 9901
    default_model: Annotated[Name | None, Field(description="Model of requests that match no rollout; without it they get 404.")] = None


class IdentityBlock(Block):
    """Headers that say who a user is."""

    tier_header: Annotated[Header, Field(description="Header with the user's tier.")] = "x-user-tier"
    country_header: Annotated[Header, Field(description="Header with the ISO country code.")] = "x-geo-country"


class TlsBlock(Block):
    """TLS towards a model."""

    sni: Annotated[Text | None, Field(description="Server name; the host by default.")] = None
    ca_file: Annotated[Text | None, Field(description="PEM bundle of authorities; the system's by default.")] = None


class EndpointBlock(Block):
    """Where a model answers."""

    host: Annotated[Text, Field(description="Host name or address.")]
    port: Annotated[Port, Field(description="Port.")]
    tls: Annotated[
        TlsBlock | None,
        BeforeValidator(_tls),
        Field(description="true, or a block with sni and ca_file.", json_schema_extra=_true_or_block),
    ] = None


class PathRewriteBlock(Block):
    """Replace a path prefix on the way to the model."""

    prefix: Annotated[Text, Field(pattern="^/", description="Prefix to replace.")]
    to: Annotated[Text, Field(pattern="^/", description="What to put there.")]


class CredentialBlock(Block):
    """A secret by reference: exactly one of file and env."""

    header: Annotated[Header, Field(description="Header that carries it.")] = "authorization"
    prefix: Annotated[str, BeforeValidator(_printable), Field(description="Text before the secret.")] = "Bearer "
    file: Annotated[Text | None, Field(description="File that holds the secret, on Envoy's machine.")] = None
    env: Annotated[Text | None, Field(description="Environment variable of Envoy that holds the secret.")] = None

    @model_validator(mode="after")
    def _one_reference(self) -> CredentialBlock:
        if (self.file is None) == (self.env is None):
            raise ValueError("name exactly one of file and env")
        return self


class PricesBlock(Block):
    """USD per million tokens."""

    input: Annotated[Dollars, Field(description="Input tokens.")]
    cached_input: Annotated[Dollars | None, Field(description="Cached input tokens; the input price by default.")] = None
    output: Annotated[Dollars, Field(description="Output tokens.")]


class ModelBlock(Block):
    """A model and the way to it."""

    cluster: Annotated[Name | None, Field(description="Envoy cluster; the model's name by default.")] = None
    endpoint: Annotated[EndpointBlock | None, Field(description="Where it answers.")] = None
    endpoints: Annotated[list[EndpointBlock] | None, Field(min_length=1, description="Where it answers, several.")] = None
    host_rewrite: Annotated[Text | None, Field(description="Host header to send; the endpoint's host where TLS is on.")] = None
    path_rewrite: Annotated[PathRewriteBlock | None, Field(description="Path prefix to replace.")] = None
    credential: Annotated[CredentialBlock | None, Field(description="Secret to send, by reference.")] = None
    send_model: Annotated[Text | None, Field(description="Model name to write into request bodies; bodies are untouched without it.")] = (
        None
    )
    prices: Annotated[PricesBlock | None, Field(description="Prices per million tokens.")] = None

    @model_validator(mode="after")
    def _one_form(self) -> ModelBlock:
        if self.endpoint is not None and self.endpoints is not None:
            raise ValueError("name endpoint or endpoints, not both")
        return self


class MatchBlock(Block):
    """Which requests a rollout is about; what does not match keeps its own route."""

    hosts: Annotated[Texts | None, Field(description="Exact host names.")] = None
    paths: Annotated[Texts | None, Field(description="Path prefixes.")] = None
    models: Annotated[Texts | None, Field(description="Values of `model` in the request body.")] = None


class SourceBlock(Block):
    """Where a unit's id comes from: exactly one key."""

    header: Annotated[Header | None, Field(description="Request header.")] = None
    api_key: Annotated[Header | None, Field(description="Header with an API key; it is hashed first.")] = None
    cookie: Annotated[Text | None, Field(pattern=COOKIE_PATTERN, description="Cookie; Envoy sets it for the anonymous.")] = None

    @model_validator(mode="after")
    def _one_kind(self) -> SourceBlock:
        if sum(one is not None for one in (self.header, self.api_key, self.cookie)) != 1:
            raise ValueError("name exactly one of header, api_key and cookie")
        return self


class CookieBlock(Block):
    """Attributes of the anonymous cookie."""

    max_age: Annotated[Duration, Field(gt=0, description="Lifetime.", json_schema_extra={"default": "365d"})] = 365 * 86400.0
    secure: Annotated[bool, Field(description="Send over TLS only.")] = True
    same_site: Annotated[Literal["Strict", "Lax", "None"], Field(description="Strict, Lax or None.")] = "Lax"


class UnitBlock(Block):
    """What is kept on one side."""

    kind: Annotated[Name, Field(description="Word for reports, such as user.")] = "user"
    sources: Annotated[list[SourceBlock], Field(min_length=1, description="Tried in order.")]
    cookie: Annotated[CookieBlock | None, Field(description="Attributes of the anonymous cookie; safe by default.")] = None


class CohortBlock(Block):
    """A named slice of traffic; all conditions given must hold; the first cohort that matches counts."""

    name: Annotated[Name, Field(description="Name in metrics and reports.")]
    country: Annotated[list[Country] | None, Field(min_length=1, description="ISO codes, upper case.")] = None
    tier: Annotated[Texts | None, Field(description="Values of the tier header.")] = None
    header: Annotated[dict[Header, Texts] | None, BeforeValidator(_headers), Field(min_length=1, description="Header: exact values.")] = (
        None
    )
    random: Annotated[Percent | None, Field(gt=0, description="A random share of units.")] = None


class GateBlock(Block):
    """Settings of a comparison with stable."""

    margin: Annotated[Percent | None, Field(gt=0, description="How much worse the canary may be, absolute.")] = None
    weight: Annotated[float | None, Field(gt=0, le=1, description="Share of alpha; the weights of a phase sum to 1.")] = None


class PhaseBlock(Block):
    """One phase."""

    share: Annotated[Percent, Field(gt=0, description="Share of units that meet the canary.")]
    name: Annotated[Text | None, Field(max_length=32, description="Name; the share by default.")] = None
    min_dwell: Annotated[
        Duration, Field(ge=0, description="Least watched time before the next phase.", json_schema_extra={"default": "10m"})
    ] = 600.0
    max_dwell: Annotated[Duration, Field(gt=0, description="Time after which a person is asked.", json_schema_extra={"default": "24h"})] = (
        86400.0
    )
    min_units: Annotated[Count, Field(description="Least distinct canary units.")] = 50
    min_requests: Annotated[Count, Field(description="Least canary requests.")] = 100
    gates: Annotated[dict[MeasureName, GateBlock] | None, Field(description="Comparisons with stable; errors by default.")] = None
    ceilings: Annotated[dict[MeasureName, Percent] | None, Field(description="Absolute limits; errors: 5% by default, {} for none.")] = None


class RolloutBlock(Block):
    """From stable to canary, phase by phase."""

    layer: Annotated[Name, Field(description="Layer of experiments; `model` sets the cluster.")] = "model"
    match: Annotated[MatchBlock, Field(description="Which requests.")] = MatchBlock()
    stable: Annotated[Name, Field(description="Model that serves today.")]
    canary: Annotated[Name, Field(description="Model that shall serve.")]
    unit: Annotated[UnitBlock, Field(description="What is kept on one side.")]
    cohorts: Annotated[list[CohortBlock], Field(min_length=1, description="Tried in order.")]
    phases: Annotated[list[PhaseBlock], Field(min_length=1, description="Rising shares, up to 100%.")]
    holdback: Annotated[Percent, Field(lt=0.5, description="Share kept on stable at 100%.", json_schema_extra={"default": "0%"})] = 0.0
    start: Annotated[StartMode, Field(strict=False, description="automatic, or manual by `extproc start`.")] = StartMode.AUTOMATIC
    salt: Annotated[Name | None, Field(description="Seed of the ring; the rollout's name by default.")] = None
    alpha: Annotated[float, Field(gt=0, le=0.5, description="Probability of rolling back a harmless canary, over the whole release.")] = (
        0.05
    )


class Document(Block):
    """An extproc Spec."""

    version: Annotated[int, Field(ge=1, le=1, description="Version of this format: 1.")]
    application: Annotated[ApplicationBlock, Field(description="The application.")]
    listener: Annotated[ListenerBlock, Field(description="The Envoy listener.")]
    identity: Annotated[IdentityBlock, Field(description="Identity headers.")] = IdentityBlock()
    models: Annotated[dict[Name, ModelBlock], Field(min_length=1, description="Models by name.")]
    rollouts: Annotated[dict[Name, RolloutBlock], Field(description="Rollouts by name.")]
