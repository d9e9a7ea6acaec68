"""The Spec: what the operator wants. Immutable under its digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from extproc.domain.alerts import Alerts
from extproc.domain.deploy import Deploy
from extproc.domain.feedback import SETTLE, FeedbackTerms
from extproc.domain.gates import ChangeWindow, Freeze, Phase
from extproc.domain.judging import Judge
from extproc.domain.places import Probe, Slices, Tls
from extproc.domain.rating import Judging
from extproc.domain.selectors import Fact, Ids, Selector
from extproc.domain.serving import UNSAID, USUAL_PEAK, Serving, Tokens
from extproc.domain.shadow import Shadow
from extproc.domain.tracing import Tracing
from extproc.domain.vendors import Credential, Prices
from extproc.domain.words import (
    AffinityPolicy,
    ApplicationType,
    AttributeType,
    Bucketing,
    FlagVendor,
    Infrastructure,
    ListenerKind,
    OnFailure,
    RollbackPolicy,
    SourceKind,
    StartMode,
)


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
    peak: float = USUAL_PEAK
    """Requests in the busiest minutes, as a multiple of the day's mean."""
    tokens: Tokens = UNSAID
    """Of requests to either model, unless the model says otherwise."""


@dataclass(frozen=True, slots=True)
class Geoip:
    """MaxMind-schema databases, as paths on Envoy's machine; each None where it is not there."""

    country: str | None
    city: str | None
    """Has the region, and the country too where there is no country database."""
    asn: str | None


@dataclass(frozen=True, slots=True)
class Jwt:
    """Tokens that Envoy verifies; their claims are believed. A request without a valid one passes, without claims."""

    issuer: str
    audiences: tuple[str, ...]
    """Any of them; empty: not looked at."""
    jwks_file: str | None
    """Keys in a file on Envoy's machine; else `jwks_uri`."""
    jwks_uri: str | None


@dataclass(frozen=True, slots=True)
class Listener:
    """The Envoy listener in front of the application."""

    kind: ListenerKind
    address: str
    port: int
    trusted_hops: int
    """Proxies in front of Envoy whose x-forwarded-for entries are believed (Envoy's xff_num_trusted_hops)."""
    geoip: Geoip | None
    """None: the geo headers are set by `set_by`, or nobody."""
    jwt: Jwt | None
    set_by: Mapping[str, str]
    """Identity header -> who sets it in front of Envoy and overwrites what clients send; only these survive an edge listener."""
    admin_port: int
    default_model: str | None
    """Model for requests that match no rollout; None: they get 404 (a rendered configuration has no other route)."""
    tracing: Tracing | None = None


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
class Backend:
    """One Envoy cluster that serves a model."""

    cluster: str
    """Its name; also the value of x-llm-cluster."""
    weight: float
    """Its share of the model's units is weight / sum of weights; above 0."""
    endpoints: tuple[Endpoint, ...]
    """Empty where the cluster is defined elsewhere (a snippet for an existing Envoy)."""
    host_rewrite: str | None
    slices: Slices | None = None
    """Instead of `endpoints`, where Envoy is told over xDS."""

    @property
    def ours(self) -> bool:
        """False where the cluster is defined elsewhere."""
        return bool(self.endpoints) or self.slices is not None


@dataclass(frozen=True, slots=True)
class Affinity:
    """Requests of one conversation go to the same replica, which holds its KV cache."""

    policy: AffinityPolicy
    header: str | None
    """Request header with the conversation's id; None: the unit."""


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    backends: tuple[Backend, ...]
    """One, or a pool: a unit stays on one of them by weighted rendezvous hashing."""
    affinity: Affinity | None
    path_rewrite: PathRewrite | None
    credential: Credential | None
    send_model: str | None
    """The model name to write into the request's JSON body; None leaves bodies byte-identical."""
    prices: Prices | None
    serving: Serving | None = None
    """None: somebody else hosts it, and is paid by `prices`."""
    tokens: Tokens = UNSAID
    """Of requests to this model."""
    probe: Probe | None = None
    """None: its replicas count as well."""


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
    """`user`, `tenant`, `conversation`, `request`, or another word for reports."""
    sources: tuple[Source, ...]
    """Empty: each request is a unit of its own."""
    cookie: Cookie | None


@dataclass(frozen=True, slots=True)
class Cohort:
    """A named slice of traffic; the first cohort that matches, in the order written, has the request."""

    name: str
    selector: Selector | None
    """None: everybody."""
    exclude: Selector | None
    """Who is never in, at no phase: stable, and outside of Evidence. None: nobody."""
    shares: tuple[float, ...]
    """Share of the canary by phase, never falling; 0 in phases before the one from which the cohort takes part."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """An open conversation keeps its model while a rollout moves: Envoy hands out a signed token that the client brings back."""

    header: str | None
    """Request and response header of the token; else `cookie`."""
    cookie: Cookie | None
    id: Source | None
    """Names the conversation: a token is good for that one alone. None: for whatever the client does meanwhile."""
    lifetime: float
    """Seconds from the first answer; after that the ring decides again."""
    on_quality_rollback: RollbackPolicy
    """What a rollback for quality or cost does to conversations on the canary. For errors, latency or a lost watcher they always move."""
    state_fields: tuple[str, ...]
    """Keys of the request's body that speak of state kept by the provider (`previous_response_id`)."""
    state_paths: tuple[str, ...]
    """Path prefixes that do. Where there is provider-side state, a token is good beyond its lifetime."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """Who is put on an arm by hand: counted apart, kept out of Evidence."""

    qa_header: str
    qa_secret: Credential | None
    """HMAC key of signed QA headers, by reference; None: there are none."""
    stable: Ids | None
    """Units that always meet stable."""
    canary: Ids | None
    """Units that meet the canary while the rollout exposes anybody."""


@dataclass(frozen=True, slots=True)
class Rollout:
    name: str
    layer: str
    match: Match
    stable: str
    canary: str
    """Names of models; of variants in every layer but `model`."""
    unit: Unit
    cohorts: tuple[Cohort, ...]
    phases: tuple[Phase, ...]
    holdback: float
    """Share of units kept on stable at 100 %, for long-horizon comparison; 0 for none."""
    salt: str
    slot: str | None
    """Exclusive slot of the layer that this rollout has; None: the whole layer."""
    bucket: Bucketing
    conversation: Conversation | None
    overrides: Overrides
    on_canary_failure: OnFailure
    start: StartMode
    alpha: float
    """Probability of rolling back a harmless canary, over the whole release."""
    approval_above: float = 1.0
    """A phase with a larger share is entered only when a person says so."""
    windows: tuple[ChangeWindow, ...] = ()
    """Empty: at any time."""
    freezes: tuple[Freeze, ...] = ()
    judging: Judging | None = None
    """None: no gate looks at sampled answers."""
    shadow: Shadow | None = None
    """None: the first phase is the first time that the canary is asked anything."""
    matures: Mapping[str, float] = field(default_factory=dict)
    """Measure that ratings tell of -> seconds of a request's age at which its rating is looked at, whenever it came."""

    def share_of(self, cohort: Cohort, phase: int) -> float:
        """Share of a cohort's units that meet the canary in a phase, holdback taken off."""
        return min(cohort.shares[phase], 1.0 - self.holdback)


@dataclass(frozen=True, slots=True)
class Attribute:
    """Where a flag's attribute comes from."""

    fact: Fact | None
    """None: the unit's id."""
    type: AttributeType


@dataclass(frozen=True, slots=True)
class Poll:
    """A flag service's own HTTP API, asked by the controller."""

    url: str
    credential: Credential | None
    every: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class FlagSource:
    """Feature flags of another system, evaluated here as its own SDK would."""

    name: str
    vendor: FlagVendor
    document: Mapping[str, Any] | None
    """The flags, where they are in a file; None: polled."""
    poll: Poll | None
    attributes: Mapping[str, Attribute]
    """The vendor's attribute name -> where its value comes from."""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """Where the queries of metric gates are asked; the controller asks."""

    url: str
    credential: Credential | None
    every: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Names of the headers that say who a user is."""

    tier_header: str
    country_header: str
    region_header: str
    asn_header: str

    @property
    def geo(self) -> tuple[str, ...]:
        """Those that a geoip lookup sets."""
        return self.country_header, self.region_header, self.asn_header


@dataclass(frozen=True, slots=True)
class Sessions:
    """Where the id of a session is, and when a session is looked at."""

    source: Source
    """A header or a cookie."""
    lasts: float
    """Seconds from its first request in which its requests are counted."""

    @property
    def counted_at(self) -> float:
        """Age of the first request at which the count is told: by then the last requests have ended and been heard of, or have not."""
        return self.lasts + SETTLE

    @property
    def looked_at(self) -> float:
        """Age of the first request at which the count is looked at."""
        return self.lasts + 2 * SETTLE


@dataclass(frozen=True, slots=True)
class Spec:
    """What the operator wants. Immutable under its digest."""

    application: Application
    listener: Listener
    identity: Identity
    models: Mapping[str, Model]
    layers: Mapping[str, Mapping[str, tuple[float, float]]]
    """Layer -> slot -> the part of the layer's units that it has, as [begin, end) of 1. Only layers with slots are here."""
    flags: Mapping[str, FlagSource]
    rollouts: Mapping[str, Rollout]
    digest: str
    """SHA-256 of the parsed document and of the files that it names, 16 hex digits."""
    prometheus: Prometheus | None = None
    """None: no rollout has a metric gate."""
    judge: Judge | None = None
    """None: nothing is copied, and nobody judges."""
    sessions: Sessions | None = None
    """None: nobody counts sessions."""
    asked_again: float = 120.0
    """Seconds in which the same request of the same unit is a retry."""
    feedback: FeedbackTerms | None = None
    """None: nobody listens to users, and no answer has a name."""
    deploy: Deploy | None = None
    """None: no manifests can be made."""
    alerts: Alerts | None = None
    """None: alerts are shown where they are made, and nobody is told."""

    @property
    def prices(self) -> dict[str, Prices]:
        """By cluster that answers."""
        return {one.cluster: model.prices for model in self.models.values() if model.prices is not None for one in model.backends}
