"""The nouns of extproc, and its glossary: every other room speaks in these words.

Four documents: **Spec** (what we want), **State** (where each rollout stands), **Snapshot** (what a request meets; lives in
`assign.snapshot`), **Evidence** (what we have seen; lives in `release.evidence`). Here are the first two and the small nouns that
travel between rooms. Everything is frozen and slotted; durations are seconds, shares are fractions of 1, instants are Unix
seconds, money is USD as Decimal. This module imports nothing of extproc.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

Subject = dict[str, bytes]
"""What is known of a request: the needed header names (lower case, pseudo headers included) to their raw values."""


# ------------------------------------------------------------------------------------------------------------------ small words
class ApplicationType(StrEnum):
    CHATBOT = "chatbot"
    SEARCH = "search"
    CONTENT_GENERATION = "content_generation"
    CODE_ASSISTANT = "code_assistant"


class Infrastructure(StrEnum):
    KUBERNETES = "kubernetes"
    CLOUD_RUN = "cloud_run"
    VM = "vm"


class ListenerKind(StrEnum):
    """`edge`: clients are strangers, identity headers are stripped unless the Spec names who sets them. `internal`: trusted."""

    EDGE = "edge"
    INTERNAL = "internal"


class SourceKind(StrEnum):
    """Where a unit's id comes from. An API key is hashed before it is used; a cookie is set by Envoy for the anonymous."""

    HEADER = "header"
    API_KEY = "api_key"
    COOKIE = "cookie"


class Arm(StrEnum):
    """canary: meets the new model. control: equal-size, never-treated group. rest: everybody between the two ends of the ring."""

    CANARY = "canary"
    CONTROL = "control"
    REST = "rest"


class Status(StrEnum):
    """Where a rollout stands. PENDING, ROLLED_BACK: everyone on stable. COMPLETED: the canary is the default."""

    PENDING = "pending"
    SHADOW = "shadow"
    PROGRESSING = "progressing"
    PAUSED = "paused"
    AWAITING_APPROVAL = "awaiting_approval"
    COMPLETED = "completed"
    ROLLED_BACK = "rolled_back"

    @property
    def exposes(self) -> bool:
        """True while a phase's share of units meets the canary."""
        return self in (Status.PROGRESSING, Status.PAUSED, Status.AWAITING_APPROVAL)

    @property
    def terminal(self) -> bool:
        """True where only a person's deliberate retry leads out."""
        return self in (Status.COMPLETED, Status.ROLLED_BACK)


class Reason(StrEnum):
    """Why a request got its model."""

    RING = "ring"
    """The unit's point on the ring, in its cohort, decided."""
    NO_MATCH = "no_match"
    """No rollout of the layer matches the request: it keeps its own route."""
    NO_COHORT = "no_cohort"
    """No cohort of the rollout matches: stable, and outside of Evidence."""
    NO_UNIT = "no_unit"
    """No source gave an id and the request has no x-request-id: stable, never one shared bucket."""
    NOT_EXPOSED = "not_exposed"
    """The rollout is pending or rolled back: stable for everyone."""
    WITHDRAWN = "withdrawn"
    """Nobody watches the canary, or its outcomes do not arrive: stable for everyone, and outside of Evidence, until that has ended."""
    COMPLETED = "completed"
    """The canary is the default now (holdback apart)."""


class StartMode(StrEnum):
    AUTOMATIC = "automatic"
    MANUAL = "manual"


# ----------------------------------------------------------------------------------------------------------------------- Spec
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
    """Absolute margin in the measure's unit: ADVANCE needs evidence that canary <= stable + margin."""
    weight: float
    """Share of the release's alpha; weights sum to 1 over a rollout's gates."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """An absolute limit. Canary alone over it: ROLL_BACK. Both arms over: HOLD and page."""

    measure: str
    limit: float


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


# ---------------------------------------------------------------------------------------------------------------------- State
@dataclass(frozen=True, slots=True)
class RolloutState:
    status: Status
    phase: int
    """Index into the rollout's phases; 0 while pending."""
    since: float
    """When the present phase was entered."""
    generation: int
    """State generation at which this rollout's exposure last changed. It travels in every assignment: an outcome belongs to the
    present visit of a phase only if it carries this number (never by clocks)."""
    attempt: int
    """1, and one more for each deliberate retry (alpha is halved each time)."""
    why: str
    """The sentence that explains the present status."""
    fingerprint: str
    """Digest of the rollout's own part of the Spec: while it runs, that part is immutable."""


@dataclass(frozen=True, slots=True)
class State:
    """Where each rollout stands. Written by the controller alone; every write raises `generation` by one."""

    generation: int
    spec_digest: str
    rollouts: Mapping[str, RolloutState]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Written after each evaluation, by the evaluate loop itself. That it changes tells routers that somebody watches."""

    number: int
    blind: tuple[str, ...]
    """Rollouts whose outcomes do not arrive: nobody can watch them."""


# --------------------------------------------------------------------------------------------------------------- data-plane nouns
@dataclass(frozen=True, slots=True)
class Assignment:
    """The answer for one request in one layer, with its reason. Prebuilt at compile time, one per (rollout, cohort, arm)."""

    layer: str
    rollout: str
    generation: int
    phase: str
    cohort: str
    arm: Arm
    reason: Reason
    model: str
    """Name of the model."""
    cluster: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one assigned request, as the access log tells it. Belongs to the *assigned* arm, whoever answered."""

    stream_id: str
    layer: str
    rollout: str
    generation: int
    phase: str
    cohort: str
    arm: Arm
    unit: str
    """Keyed hash, 16 hex digits."""
    durable: bool
    """False for a unit that may never be seen again (first anonymous request): kept out of unit counts."""
    start: float
    duration: float
    """Seconds from start to the end, or to this periodic entry."""
    final: bool
    """False: a periodic entry; the request is still open at age `duration`."""
    status: int
    """HTTP status, 0 where no response began."""
    failed: bool
    """5xx, timeout, reset, connection failure, stream aborted by the upstream, or a failed attempt behind a good answer."""
    client_aborted: bool
    throttled: bool
    """429: counted apart, not as a failure."""
    attempts: int
    ttft: float | None
    answered_by: str
    """Cluster that answered: labels cost and text."""
    model: str
    """Model name the answer reports; empty where unknown."""
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None


@dataclass(frozen=True, slots=True)
class Undecided:
    """One request that ended without an assignment: no rollout matched it, or Envoy served stable because no decision came in time."""

    answered_by: str
    """Cluster."""
    model: str
    failed: bool
    output_tokens: int | None


# ------------------------------------------------------------------------------------------------------------------ control nouns
class Verdict(StrEnum):
    """PASS < INCONCLUSIVE < NO_DATA < FAIL; the worst of several is the verdict of all."""

    PASS = "pass"
    INCONCLUSIVE = "inconclusive"
    NO_DATA = "no_data"
    FAIL = "fail"

    @property
    def rank(self) -> int:
        return ("pass", "inconclusive", "no_data", "fail").index(self.value)


class Action(StrEnum):
    HOLD = "hold"
    START = "start"
    ADVANCE = "advance"
    COMPLETE = "complete"
    ROLL_BACK = "roll_back"
    ROLL_BACK_COHORT = "roll_back_cohort"
    PAUSE = "pause"
    RESUME = "resume"
    ASK = "ask"
    """Max dwell is over and the evidence decides nothing: a person does."""
    ADOPT = "adopt"
    """A new Spec is in force."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a gate or a ceiling says at one moment, with its numbers and a sentence a person understands."""

    gate: str
    """`errors`, or `ceiling:errors`."""
    verdict: Verdict
    sentence: str
    estimate: float | None
    """Canary minus stable for a comparison, the canary's own value for a ceiling."""
    interval: tuple[float, float] | None
    """95 % asymptotic confidence sequence; for eyes only, never for a decision."""
    margin: float
    canary_samples: int
    stable_samples: int
    canary_value: float | None
    stable_value: float | None
    log_e_harm: float
    """ln of the e-value against "the canary is no worse"; crossing ln(1/alpha) fails the gate."""
    log_e_safe: float
    """ln of the e-value against "the canary is worse by more than the margin"; crossing ln(20) passes the gate."""
    both_arms: bool = False
    """A ceiling that stable breaks too: an incident, HOLD and page."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with one rollout now, and why. `apply` turns it into the next State and a JournalEntry."""

    action: Action
    why: str
    to_phase: int | None = None
    findings: tuple[Finding, ...] = ()
    page: bool = False
    """Somebody has to look: an incident that holds the release."""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One line of the append-only record: every decision and every human action."""

    sequence: int
    """From 1, without gaps; 0 before the store has numbered it."""
    at: float
    rollout: str
    actor: str
    """`extproc` for automation, else who asked."""
    action: Action
    why: str
    generation: int
    """State generation that this entry produced."""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """JSON-ready: phase, share, findings."""
