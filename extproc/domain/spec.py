"""The Spec: what the operator wants. Immutable under its digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from decimal import Decimal

from extproc.domain.words import ApplicationType, Infrastructure, ListenerKind, Reaction, SourceKind, StartMode


@dataclass(frozen=True, slots=True)
class Sla:
    latency_p99: float
    """Seconds; also the deadline of a request: one still open at this age has failed."""
    ttft: float
    """Seconds to the first token."""
    uptime: float
    """Fraction of requests that must succeed, such as 0.999."""


@dataclass(frozen=True, slots=True)
class Application:
    name: str
    type: ApplicationType
    daily_requests: int
    daily_units: int
    sla: Sla
    infrastructure: Infrastructure
    watch_lease: float
    """Seconds without a heartbeat, or with decisions of which too few are heard of again, after which canary traffic goes to stable."""


@dataclass(frozen=True, slots=True)
class Listener:
    """The Envoy listener in front of the application."""

    kind: ListenerKind
    address: str
    port: int
    trusted_hops: int
    """Proxies in front of Envoy whose x-forwarded-for entries are believed (Envoy's xff_num_trusted_hops)."""
    geoip_database: str | None
    """Path of a MaxMind-schema country database, or None: the country header is then set by `set_by`, or nobody."""
    set_by: Mapping[str, str]
    """Identity header -> who sets it in front of Envoy and overwrites what clients send; only these survive an edge listener."""
    admin_port: int
    default_model: str | None
    """Model for requests that match no rollout; None: they get 404 (a rendered configuration has no other route)."""


@dataclass(frozen=True, slots=True)
class Tls:
    sni: str
    ca_file: str | None
    """PEM bundle; None: the system's."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    host: str
    port: int
    tls: Tls | None


@dataclass(frozen=True, slots=True)
class PathRewrite:
    prefix: str
    to: str


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret by reference: the value is in `file` (an SDS-style file or plain text) or in environment variable `env`."""

    header: str
    prefix: str
    file: str | None
    env: str | None


@dataclass(frozen=True, slots=True)
class Prices:
    """USD per million tokens."""

    input: Decimal
    cached_input: Decimal
    output: Decimal


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    cluster: str
    """Envoy cluster name; also the value of x-llm-cluster."""
    endpoints: tuple[Endpoint, ...]
    """Empty where the cluster is defined elsewhere (a snippet for an existing Envoy)."""
    host_rewrite: str | None
    path_rewrite: PathRewrite | None
    credential: Credential | None
    send_model: str | None
    """The model name to write into the request's JSON body; None leaves bodies byte-identical."""
    prices: Prices | None


@dataclass(frozen=True, slots=True)
class Match:
    """Which requests a rollout is about: all given conditions hold; an empty tuple is no condition."""

    hosts: tuple[str, ...]
    """Exact host names, lower case, without port."""
    paths: tuple[str, ...]
    """Path prefixes."""
    models: tuple[str, ...]
    """Names in the request body's `model`."""


@dataclass(frozen=True, slots=True)
class Source:
    kind: SourceKind
    name: str
    """Header or cookie name."""


@dataclass(frozen=True, slots=True)
class Cookie:
    """The anonymous cookie that Envoy sets; attributes are safe by default."""

    name: str
    max_age: int
    attributes: str
    """Everything after the value and Max-Age, such as `Path=/; HttpOnly; Secure; SameSite=Lax`."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What is kept on one side: sources are tried in order; the anonymous are recognised by the cookie from their second request on."""

    kind: str
    """`user` (the word used in reports)."""
    sources: tuple[Source, ...]
    cookie: Cookie | None


@dataclass(frozen=True, slots=True)
class HeaderRule:
    name: str
    values: tuple[str, ...]
    """Exact values, any of which matches."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """A named slice of traffic: every condition given must hold; the first cohort that matches, in the order written, has the request."""

    name: str
    countries: tuple[str, ...]
    """ISO 3166-1 alpha-2, upper case."""
    tiers: tuple[str, ...]
    headers: tuple[HeaderRule, ...]
    random: float | None
    """A random share of units (own hash, independent of the ring), or None."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A comparison of canary with stable on one measure."""

    measure: str
    margin: float
    """ADVANCE needs evidence that the canary is worse than stable by no more: in the measure's unit, or as a share of stable's value
    where the measure says so."""
    weight: float
    """Share of the release's alpha; weights sum to 1 over a phase's gates."""
    tolerance: float | None = None
    """Share of stable's value by which the canary may be worse before that is harm; None: the measure's default. That of the first
    phase with this gate is good for the whole release."""
    guardrail: bool | None = None
    """False: it rolls back on harm, but asks for no evidence of safety. None: the measure's default."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """An absolute limit. Canary alone over it: ROLL_BACK. Both arms over: HOLD and page."""

    measure: str
    limit: float
    name: str = ""
    """Where a phase has several for one measure; empty: the measure's."""


@dataclass(frozen=True, slots=True)
class MetricGate:
    """A Prometheus query with a bound, for business metrics. Somebody else fetches the value."""

    name: str
    query: str
    bound: float
    more_is_worse: bool = True
    """True: the value must not be above the bound; False: not below it."""
    rolls_back: bool = False
    """What a broken bound does; False: it holds and pages. One reading has no error control: see the guide."""


@dataclass(frozen=True, slots=True)
class Phase:
    name: str
    share: float
    min_dwell: float
    max_dwell: float
    min_units: int
    """Distinct canary units before ADVANCE."""
    min_requests: int
    """Canary requests before ADVANCE."""
    gates: tuple[Gate, ...]
    ceilings: tuple[Ceiling, ...]
    metrics: tuple[MetricGate, ...] = ()
    on_fail: Reaction = Reaction.ROLL_BACK
    """What a FAIL does: ROLL_BACK, or RETURN to the phase before."""
    on_inconclusive: Reaction = Reaction.ASK
    """What INCONCLUSIVE does once max dwell is over; until then it holds."""
    on_no_data: Reaction = Reaction.ASK
    """The same for NO_DATA."""


@dataclass(frozen=True, slots=True)
class ChangeWindow:
    """When automation may raise exposure: on these weekdays between two times of day, in one zone."""

    days: tuple[int, ...]
    """0 is Monday."""
    begin: float
    """Seconds after midnight."""
    end: float
    """The same; not after midnight: two windows make a night."""
    zone: tzinfo


@dataclass(frozen=True, slots=True)
class Freeze:
    """When it may not, whatever the windows say."""

    begin: float
    end: float
    why: str


@dataclass(frozen=True, slots=True)
class Rollout:
    name: str
    layer: str
    match: Match
    stable: str
    canary: str
    """Names of models."""
    unit: Unit
    cohorts: tuple[Cohort, ...]
    phases: tuple[Phase, ...]
    holdback: float
    """Share of units kept on stable at 100 %, for long-horizon comparison; 0 for none."""
    salt: str
    start: StartMode
    alpha: float
    """Probability of rolling back a harmless canary, over the whole release."""
    approval_above: float = 1.0
    """A phase with a larger share is entered only when a person says so."""
    windows: tuple[ChangeWindow, ...] = ()
    """Empty: at any time."""
    freezes: tuple[Freeze, ...] = ()


@dataclass(frozen=True, slots=True)
class Spec:
    """What the operator wants. Immutable under its digest."""

    application: Application
    listener: Listener
    models: Mapping[str, Model]
    rollouts: Mapping[str, Rollout]
    tier_header: str
    country_header: str
    digest: str
    """SHA-256 of the parsed document in canonical JSON, 16 hex digits."""
