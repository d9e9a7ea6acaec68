"""The names that other systems rely on: headers, metadata namespaces, metrics, cluster names and ports.

Envoy's configuration, the router, the collector, dashboards and an operator's own rules meet only here. Renaming one of these is
a breaking change and belongs in the CHANGELOG. This module imports nothing of extproc.
"""

from urllib.parse import parse_qs

# -- request headers ---------------------------------------------------------------------------------------------------------
HEADER_PREFIX = "x-llm-"
"""Envoy strips every header with this prefix before the first route is resolved: nothing from outside is trusted."""
CLUSTER_HEADER = "x-llm-cluster"
"""Names the model (by its Envoy cluster) that the request goes to; set by the router, matched by the rendered routes."""
VARIANT_PREFIX = "x-llm-variant-"
"""`x-llm-variant-<layer>` names the variant of a layer other than `model`."""
MIRROR_HEADER = "x-llm-mirror"
"""Names the cluster that gets a copy of the request, in a rollout's shadow; set by the router, followed by the routes of stable."""
AFFINITY_HEADER = "x-llm-affinity"
"""The unit's keyed hash, for Envoy's ring-hash and maglev load balancers; set where a model asks for affinity by unit."""
MODEL_LAYER = "model"
"""The layer that sets the cluster."""
REQUEST_ID_HEADER = "x-request-id"
FEEDBACK_HEADER = "x-extproc-feedback"
"""Response header: a signed token of the answer, which whoever was answered may send back with feedback."""

REQUEST_MODEL = "extproc.request.model"
"""Key of the requested model inside a Subject; not a header: a client cannot send it (a dot-separated name in no Envoy header)."""

REQUEST_STATE = "extproc.request.state"
"""Key inside a Subject: the request speaks of state that the provider keeps (`previous_response_id`)."""
CLAIM_PREFIX = "extproc.claim."
"""A verified JWT claim inside a Subject is `extproc.claim.<dotted path>`; entries of a list are joined by NUL."""

# -- dynamic metadata --------------------------------------------------------------------------------------------------------
ASSIGNMENT_NAMESPACE = "extproc.assignment"
"""Namespace prefix of an assignment: `extproc.assignment.<layer>` holds the fields below, for the access log."""
FIELD_ROLLOUT = "rollout"
FIELD_GENERATION = "generation"
FIELD_PHASE = "phase"
FIELD_COHORT = "cohort"
FIELD_ARM = "arm"
FIELD_REASON = "reason"
FIELD_ROUTER = "router"
"""Which worker decided: its host and its number. Between `reason` and `unit`, which must stay the last."""
FIELD_UNIT = "unit"
"""The unit's keyed hash, 16 hex digits; it sorts last among the fields, so that a reply is a constant followed by the hash."""
FIELD_DURABLE = "durable"
"""True where the unit will be recognised again (a user id, an API key, a cookie that came back)."""

COOKIE_NAMESPACE = "extproc.cookie"
COOKIE_FIELD = "set"
"""`extproc.cookie: {set: <Set-Cookie value>}` makes the rendered Envoy set the anonymous cookie; absent otherwise."""
CONVERSATION_NAMESPACE = "extproc.conversation"
CONVERSATION_FIELD = "token"
CONVERSATION_COOKIE_FIELD = "cookie"
"""`extproc.conversation: {token: ...}` or `{cookie: <Set-Cookie value>}` makes the rendered Envoy hand out a conversation's token."""
REQUEST_NAMESPACE = "extproc.request"
REQUEST_MODEL_FIELD = "model"
REQUEST_STATE_FIELD = "state"
"""`extproc.request: {model, state}`: the model named in the request's body, and what it says of provider-side state; read by Envoy and
forwarded to the router."""
JWT_NAMESPACE = "envoy.filters.http.jwt_authn"
JWT_FIELD = "extproc_claims"
"""`payload_in_metadata` of Envoy's jwt_authn: where the router finds the verified claims."""
SIGNALS_NAMESPACE = "extproc.signals"
SIGNAL_PROMPT = "prompt"
"""What is asked, as a hash that Envoy makes of the body; the body itself goes nowhere."""
SIGNAL_SESSION = "session"
"""The session's id as the client tells it; hashed as soon as it is read."""
SIGNAL_RETRY = "retry"
"""How many times the client's library has tried before (`x-stainless-retry-count`). All of these are for the access log alone."""
FEEDBACK_NAMESPACE = "extproc.feedback"
FEEDBACK_FIELD = "token"
"""`extproc.feedback: {token: ...}` makes the rendered Envoy name the answer in a header (FEEDBACK_HEADER)."""
SHADOW_NAMESPACE = "extproc.shadow"
SHADOW_ROLLOUT = "rollout"
"""`extproc.shadow: {rollout}`: this is not a client's request but the copy of one, on its way to the canary. A constant of the listener
that takes copies; it never stands beside an assignment."""
CONFIG_NAMESPACE = "extproc.config"
"""A constant namespace: Envoy drops typed metadata from its access log where no untyped one exists (seen on 1.40)."""
TOKEN_USAGE_NAMESPACE = "envoy.ai.token_usage"
JSON_USAGE_NAMESPACE = "extproc.usage"
"""Tokens as the core profile finds them (json_to_metadata): {model, input, cached, output, reasoning}."""

# -- Envoy: clusters, stat prefixes, runtime keys, access log -------------------------------------------------------------------
HEALTH_PATH = "/extproc/healthz"
"""Envoy itself answers here, without a decision and without an access-log entry."""
ROUTER_CLUSTER = "extproc_router"
COLLECTOR_CLUSTER = "extproc_collector"
SAMPLER_CLUSTER = "extproc_sampler"
FEEDBACK_CLUSTER = "extproc_feedback"
SHADOW_CLUSTER = "extproc_shadow_{rollout}"
"""The way of a rollout's copies: a listener inside of Envoy, which has the same name."""
ACCESS_LOG_NAME = "extproc"
TTFT_TAG = "ttft_us"
"""Custom access-log tag: microseconds from the request's first byte to the first body byte from the model."""
EXT_PROC_LATENCY_TAG = "ext_proc_us"
EXT_PROC_STATUS_TAG = "ext_proc_status"
RUNTIME_CANARY = "extproc.{rollout}.canary"
"""Envoy runtime key, percent of decided canary requests that may reach the canary: 0 is a rollback without any router or controller."""
RUNTIME_COMPLETED = "extproc.{rollout}.completed"
"""Envoy runtime key, percent: 100 makes the canary the default for requests that carry no decision."""
RUNTIME_SHADOW = "extproc.{rollout}.shadow"
"""Envoy runtime key, percent of the requests to be mirrored that are: 0 stops the shadow at once, without router and controller."""
RUNTIME_SAMPLE = "extproc.sample"
"""Envoy runtime key: of a million requests of canary and control, how many are copied for the judge; 0 stops that at once."""

# -- gRPC methods --------------------------------------------------------------------------------------------------------------
PROCESS_METHOD = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
ACCESS_LOG_METHOD = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"
RELAY_METHOD = "/extproc.pb.Relay/Take"
"""Of a collector that leads: what others have heard."""
HEALTH_CHECK_METHOD = "/grpc.health.v1.Health/Check"
HEALTH_WATCH_METHOD = "/grpc.health.v1.Health/Watch"

# -- default endpoints ---------------------------------------------------------------------------------------------------------
DEFAULT_ROUTER_LISTEN = "unix:/run/extproc/router.sock"
DEFAULT_COLLECTOR_LISTEN = "unix:/run/extproc/collector.sock"
DEFAULT_SAMPLER_LISTEN = "unix:/run/extproc/sampler.sock"
DEFAULT_STORE = "sqlite:/var/lib/extproc/extproc.db"
DEFAULT_LOCAL = "/var/lib/extproc"
"""Directory of what stays on each machine where the store is etcd's: exposures, samples, feedback, token and Unix sockets."""
LOCAL_STEM = "extproc.db"
DEFAULT_API_PORT = 9970
"""The controller's HTTP port on loopback: API, /metrics, /healthz."""
DEFAULT_METRICS_PORT = 9971
DEFAULT_FEEDBACK_LISTEN = "127.0.0.1:9972"
FEEDBACK_PATH = "/v1/feedback"
VERDICT_PATH = "/v1/rollouts/{rollout}/verdict"
"""The controller's verdict for other people's delivery. `?ask=` one of the moves, each of them a boolean of its JSON too."""
MOVE_ADVANCE = "advance"
MOVE_PROMOTE = "promote"
MOVE_ROLLBACK = "rollback"
TOKEN_ENVIRONMENT = "EXTPROC_TOKEN"
API_ENVIRONMENT = "EXTPROC_API"
API_CA_ENVIRONMENT = "EXTPROC_API_CA"
API_CERT_ENVIRONMENT = "EXTPROC_API_CERT"
API_KEY_ENVIRONMENT = "EXTPROC_API_KEY"
"""Towards an API of https: authorities (PEM) that signed its certificate, and the caller's own certificate and key."""
ACCESS_ENVIRONMENT = "EXTPROC_ACCESS"
"""File of the people who may come to the API, and their roles."""
STORE_ENVIRONMENT = "EXTPROC_STORE"
ACTOR_ENVIRONMENT = "EXTPROC_ACTOR"
"""Name of the person who acts, where the user of the process says nothing of that."""
LOG_FORMAT_ENVIRONMENT = "EXTPROC_LOG_FORMAT"
LOG_LEVEL_ENVIRONMENT = "EXTPROC_LOG_LEVEL"

# -- Prometheus metrics --------------------------------------------------------------------------------------------------------
METRIC_DECISIONS = "extproc_decisions_total"
METRIC_TOKENS_SEEN = "extproc_conversation_tokens_total"
"""Conversation tokens that came with requests, by rollout and fate: valid, forged, expired, foreign, revoked; and `issued`."""
METRIC_OVERRIDES = "extproc_overrides_total"
"""Signed QA headers that were ignored, by rollout and fate: forged, expired. Those that counted are decisions with reason override."""
METRIC_DECISION_SECONDS = "extproc_decision_seconds"
METRIC_GENERATION = "extproc_snapshot_generation"
METRIC_SNAPSHOT_AGE = "extproc_snapshot_age_seconds"
METRIC_DECISION_ERRORS = "extproc_decision_errors_total"
METRIC_SHED = "extproc_shed_total"
"""Requests that a worker did not decide, because Envoy had waited for `message_timeout` and given them up: the worker is behind."""
METRIC_CONNECTION_FAULTS = "extproc_connection_faults_total"
METRIC_RELOAD_FAILURES = "extproc_reload_failures_total"
"""Changes that could not be used; the last good one stays. A router's have the label worker: its number, or `supervisor`, which reads
the Spec's file where there is no store."""
METRIC_SPEC_PROBLEM = "extproc_spec_problem"
"""1 while what the Spec's file says is not in force, because it is bad or was refused; `extproc status` and /healthz say why."""
METRIC_WITHDRAWN = "extproc_withdrawn"
"""Workers that send a rollout's canary traffic to stable, because nobody can watch it; 0 where all is well."""
METRIC_HEARTBEAT_AGE = "extproc_heartbeat_age_seconds"
METRIC_BLIND = "extproc_blind"
"""1 while too few of a rollout's decisions are heard of in the access log."""
METRIC_ROUTERS = "extproc_routers"
"""Routers by state: `present`, `silent`."""
METRIC_WORKERS = "extproc_workers"
METRIC_WORKER_RESTARTS = "extproc_worker_restarts_total"
"""By worker and reason: `died` (it ended by itself or was killed from outside), `hung` (it did not answer and was killed by us)."""
METRIC_FLAG_FAILURES = "extproc_flag_poll_failures"
METRIC_FLAG_AGE = "extproc_flags_age_seconds"
"""Seconds since a polled source of flags last gave an answer that could be used; the last good flags stay in force meanwhile."""
METRIC_OUTCOMES = "extproc_outcomes_total"
METRIC_LATE_OUTCOMES = "extproc_late_outcomes"
METRIC_UNDECIDED = "extproc_undecided_requests_total"
METRIC_PHASE = "extproc_phase"
METRIC_SHARE = "extproc_share"
METRIC_STATUS = "extproc_status"
METRIC_E_VALUE = "extproc_e_value"
METRIC_E_LIMIT = "extproc_e_limit"
METRIC_VERDICT = "extproc_gate_verdict"
"""1 for a gate's present verdict: pass, inconclusive, no_data, fail. Gates of a phase that was left are not shown."""
METRIC_PAGE = "extproc_page"
"""1 while a rollout is held and somebody has to look: an incident in both arms, units that do not fall as planned, a blind controller."""
METRIC_COHORT_OUT = "extproc_cohort_out"
"""1 for each cohort that was rolled back by itself."""
METRIC_OVERRIDE = "extproc_override_seconds"
"""Seconds for which a person still answers for missing evidence; 0 where nobody does."""
METRIC_TTFT = "gen_ai_server_time_to_first_token_seconds"
"""OpenTelemetry's gen_ai.server.time_to_first_token, by rollout, cohort, arm and phase."""
METRIC_DURATION = "gen_ai_server_request_duration_seconds"
"""OpenTelemetry's gen_ai.server.request.duration, by the same."""
METRIC_TOKEN_USAGE = "gen_ai_client_token_usage"
"""OpenTelemetry's gen_ai.client.token.usage, by the same and gen_ai_token_type: input, output."""
METRIC_COST = "extproc_cost_usd_total"
"""USD by the Spec's prices of the model that answered, by the same; 0 where the Spec has none. No convention has a name for it."""
METRIC_TOKENS = "extproc_tokens_total"
METRIC_RATED_MEAN = "extproc_rated_mean"
"""What judges and users say of an arm's answers in this visit of a phase, by measure, in the measure's own unit: stable's is control's."""
METRIC_RATED = "extproc_rated_answers"
"""Of how many answers they say it."""
METRIC_JOURNAL = "extproc_journal_seconds"
"""When the Journal last told of this action in this phase (Unix seconds), for marks in a dashboard."""
METRIC_STORE_FAILURES = "extproc_store_failures_total"
"""The controller's reads and writes of the store that failed, by kind: full, read_only, busy, damaged, other. Nothing moves meanwhile."""
METRIC_EXPOSURES = "extproc_exposures_written_total"
METRIC_EXPOSURES_LOST = "extproc_exposures_lost_total"
"""Requests that met a canary and are not in the list, because its file could not be written for long; `extproc exposures` says when."""
METRIC_EXPOSURES_WAITING = "extproc_exposures_waiting"
METRIC_JUDGED = "extproc_judge_questions"
"""Since the judge's process began: `scored`, or why there is no score."""
METRIC_JUDGE_SPENT = "extproc_judge_spent_usd"
METRIC_JUDGE_WAITING = "extproc_judge_waiting"
METRIC_JUDGE_NOISE = "extproc_judge_noise"
METRIC_JUDGE_SILENT = "extproc_judge_silent"
METRIC_COPIES = "extproc_shadow_copies_total"
"""Copies of requests that ended, by rollout and result; their tokens count under the arm `shadow`."""
METRIC_SHADOW_PAIRS = "extproc_shadow_pairs"
"""Requests of this shadow of which stable's answer and the copy's are both known."""
METRIC_SHADOW_FAILED = "extproc_shadow_failed"
"""Those that failed, by arm: stable, canary."""
METRIC_SHADOW_SPENT = "extproc_shadow_spent_usd"
METRIC_SHADOW_SILENT = "extproc_shadow_silent"
"""1 while requests that ought to be mirrored have no copies: the mirror is silent."""
METRIC_SIGNALS_LOST = "extproc_signals_lost"
"""Prompts, sessions and feedback that nobody looked at, by why."""
METRIC_SESSIONS_OPEN = "extproc_sessions_open"
METRIC_RESPONSE_RATE = "extproc_feedback_response_rate"
"""Share of an arm's answers that users speak of: who speaks chooses to, and a difference between arms is a bias of its own."""
METRIC_FEEDBACK = "extproc_feedback_total"
"""End users' feedback by kind and result: accepted, duplicate, refused, unwritten. What was refused has the kind `unknown`."""
METRIC_FEEDBACK_REQUESTS = "extproc_feedback_requests_total"
"""Posts of feedback, by the status of their answer."""
METRIC_FEEDBACK_WAITING = "extproc_feedback_waiting"
"""Feedback that waits for a commit."""
METRIC_FEEDBACK_COMMIT = "extproc_feedback_commit_seconds"
METRIC_FEEDBACK_FAILURES = "extproc_feedback_write_failures_total"
"""Writes of the feedback's file that failed, by the store's kinds; whoever waited for one was told to send it again."""
METRIC_LOOP_LAG = "extproc_loop_lag_seconds"
METRIC_LOOP_WORST_LAG = "extproc_loop_worst_lag_seconds"
METRIC_TICK_SECONDS = "extproc_loop_tick_seconds"
METRIC_TICKS = "extproc_loop_ticks_total"
METRIC_MISSED_TICKS = "extproc_loop_missed_ticks_total"
METRIC_LEADS = "extproc_controller_leads"
METRIC_CONTROLLER_UP = "extproc_controller_up"
"""1 while the controller answers its API process. At 0 that process shows only its own series: no frozen number looks fresh."""
METRIC_ANSWER_AGE = "extproc_controller_answer_age_seconds"
METRIC_QUESTIONS = "extproc_controller_questions_total"
METRIC_API_RESTARTS = "extproc_api_restarts_total"
"""By reason, `died` or `hung`."""
METRIC_API_REFUSED = "extproc_api_refused_total"
"""Attempts at the API that were refused, by reason: `credential` (none, or nobody's), `role`, `site` (another site's page asked)."""
METRIC_ACCESS_PROBLEM = "extproc_access_problem"
"""1 while the file of people and roles is not in force because it is bad; the last good one stays."""


def assignment_namespace(layer: str) -> str:
    """The metadata namespace that carries the assignment of one layer."""
    return f"{ASSIGNMENT_NAMESPACE}.{layer}"


def local_stem(store: str) -> str:
    """What the names of all that stays on one machine begin with: the path of `sqlite:PATH`; `<local>/extproc.db` of
    `etcd://HOST:PORT/PREFIX?local=DIRECTORY`."""
    scheme, _, rest = store.partition(":")
    if scheme != "etcd":
        return rest
    named = parse_qs(rest.partition("?")[2]).get("local", [DEFAULT_LOCAL])
    return f"{named[-1].rstrip('/')}/{LOCAL_STEM}"


def exposures_path(store: str) -> str:
    """Where the controller of a store keeps the list of exposures: a file beside the store's."""
    return local_stem(store) + ".exposures"


def samples_path(store: str) -> str:
    """Where the judge's process keeps samples and scores: a file beside the store's."""
    return local_stem(store) + ".samples"


def feedback_path(store: str) -> str:
    """Where the feedback service of a store keeps its log: a file beside the store's."""
    return local_stem(store) + ".feedback"


def presence_path(store: str) -> str:
    """Where the controller of a store listens for the Presence of its routers: a Unix datagram socket beside the store's file."""
    return local_stem(store) + ".presence"


def endpoints(listen: str, workers: int) -> tuple[str, ...]:
    """One address per worker: `unix:/run/router.sock` -> `unix:/run/router-0.sock` ..., `HOST:PORT` -> PORT, PORT + 1 ...

    The router listens on these and the rendered Envoy configuration names them; both ask here.
    """
    if listen.startswith("unix:"):
        stem, dot, suffix = listen.rpartition(".")
        if not dot or "/" in suffix:
            stem, dot, suffix = listen, "", ""
        return tuple(f"{stem}-{index}{dot}{suffix}" for index in range(workers))
    host, _, port = listen.rpartition(":")
    return tuple(f"{host}:{int(port) + index}" for index in range(workers))


def brain_path(store: str) -> str:
    """Where the controller of a store answers its API process: a Unix socket beside the store's file, its owner's alone."""
    return local_stem(store) + ".brain.sock"
