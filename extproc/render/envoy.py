"""Spec + settings -> an Envoy configuration: a whole one, or the parts to merge into an existing one."""

from __future__ import annotations

from typing import Final

from extproc import contract
from extproc.domain import SourceKind, Spec
from extproc.render.clusters import clusters
from extproc.render.filters import LOG_OPTIONS, access_log, early_mutations, http_filters, router_filter
from extproc.render.refused import refuse_what_cannot_work
from extproc.render.routes import BODY_LIMIT, feedback_routes, rollout_routes, virtual_host
from extproc.render.settings import EnvoySettings, Profile
from extproc.render.shadow import bootstrap_extensions, shadow_clusters, shadow_listeners
from extproc.render.tracing import tracing
from extproc.render.upstream import secrets
from extproc.render.yamltext import Block, dump, plain, typed

IDLE_TIMEOUT: Final = "300s"
"""A stream without a byte for so long has died; the only limit, since answers may stream for minutes."""


def envoy_yaml(spec: Spec, settings: EnvoySettings, made_by: str) -> str:
    """A whole static configuration. `made_by` is the command that made it; it is in the file's first lines.

    Raises RenderError with everything that keeps it from being made, such as a model without endpoint.
    """
    refuse_what_cannot_work(spec, settings.profile, snippet=False)
    return dump(_bootstrap(spec, settings), _heading(spec, settings, made_by, "Run it: envoy --config-path THIS_FILE"))


def envoy_document(spec: Spec, settings: EnvoySettings, discovered: bool = False) -> Block:
    """The same configuration as data, without comments, for those who build on it. Raises RenderError as `envoy_yaml` does.

    `discovered`: it is served over xDS, so that endpoints may be in a file of the controller.
    """
    refuse_what_cannot_work(spec, settings.profile, snippet=False, discovered=discovered)
    found: Block = plain(_bootstrap(spec, settings))
    return found


def envoy_snippet(spec: Spec, settings: EnvoySettings, made_by: str) -> str:
    """The parts that an Envoy of your own needs, each under a key that says where it belongs. Raises RenderError."""
    refuse_what_cannot_work(spec, settings.profile, snippet=True)
    manager = {
        "use_remote_address": True,
        "xff_num_trusted_hops": spec.listener.trusted_hops,
        "early_header_mutation_extensions": early_mutations(spec, settings.profile),
        "access_log_options": LOG_OPTIONS,
        "access_log": access_log(spec, settings),
        **tracing(spec, settings),
        **_naming(spec),
    }
    document: Block = {
        "# -> http_connection_manager: set these keys, append to lists that you have. They act on every route.": None,
        "http_connection_manager": manager,
        "# -> http_filters: before your router filter, in this order. They act on every route; a route opts out of one of them by": None,
        "#   typed_per_filter_config: {NAME: {'@type': type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true}}": None,
        "http_filters": http_filters(spec, settings, unmatched_answered=False),
        "# -> your virtual host: bodies are held while the model's name is read, or rewritten; 1 MiB by default.": None,
        "virtual_host": {"request_body_buffer_limit": BODY_LIMIT},
        "# -> routes of your virtual host: before your own. What they do not match keeps its own route.": None,
        "routes": [*feedback_routes(spec), *rollout_routes(spec, settings)],
        "# -> static_resources.clusters": None,
        "clusters": [*clusters(spec, settings), *shadow_clusters(spec)],
    }
    listeners = shadow_listeners(spec, settings)
    if listeners:
        document |= {"# -> static_resources.listeners: inside of Envoy, without an address.": None, "listeners": listeners}
        document |= {"# -> bootstrap_extensions": None, **bootstrap_extensions(spec)}
    keys = secrets(spec)
    if keys:
        document |= {"# -> static_resources.secrets": None, "secrets": keys}
    document |= {
        "# -> layered_runtime: the admin layer makes /runtime_modify work, and with it a rollback without router and controller.": None,
        "layered_runtime": runtime_layers(),
    }
    return dump(document, _heading(spec, settings, made_by, "Not a configuration of its own: merge each part where its comment says."))


def lost_features(settings: EnvoySettings) -> tuple[str, ...]:
    """What the core profile cannot do, one sentence each; nothing for the full one.

    Envoy has these only in extensions that it calls work in progress, or newer than 1.36.
    """
    if settings.profile is Profile.FULL:
        return ()
    return (
        "token usage of streamed (SSE) answers, and of other answer formats than OpenAI's",
        "time to first token",
        "latency and status of the decision in access-log entries",
        "country, region and network from the client's address (geoip): let a CDN set the headers, and name them in listener.set_by",
        "affinity to the replicas of a model whose cluster is defined elsewhere",
        "an answer of stable where the canary fails (on_canary_failure: stable): a Spec that asks for it is refused",
    )


def _bootstrap(spec: Spec, settings: EnvoySettings) -> Block:
    listener = spec.listener
    resources: Block = {
        "listeners": [_listener(spec, settings), *shadow_listeners(spec, settings)],
        "clusters": [*clusters(spec, settings), *shadow_clusters(spec)],
    }
    keys = secrets(spec)
    if keys:
        resources["secrets"] = keys
    return {
        "# For curl on this machine only: statistics, and the runtime keys named at the routes (POST /runtime_modify?KEY=0).": None,
        "admin": admin(listener.admin_port),
        "node": {"id": f"extproc-{spec.application.name}", "cluster": spec.application.name},
        "layered_runtime": runtime_layers(),
        **bootstrap_extensions(spec),
        "static_resources": resources,
    }


def admin(port: int) -> Block:
    """Envoy's own interface, for its machine alone."""
    return {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}


def _listener(spec: Spec, settings: EnvoySettings) -> Block:
    manager = typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="ingress",
        use_remote_address=True,
        xff_num_trusted_hops=spec.listener.trusted_hops,
        normalize_path=True,
        merge_slashes=True,
        stream_idle_timeout=IDLE_TIMEOUT,
        early_header_mutation_extensions=early_mutations(spec, settings.profile),
        access_log_options=LOG_OPTIONS,
        access_log=access_log(spec, settings),
        **tracing(spec, settings),
        **_naming(spec),
        route_config={"name": "extproc", "virtual_hosts": [virtual_host(spec, settings)]},
        http_filters=[*http_filters(spec, settings, unmatched_answered=spec.listener.default_model is None), router_filter()],
    )
    network = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    address = {"address": spec.listener.address, "port_value": spec.listener.port}
    return {"name": "extproc", "address": {"socket_address": address}, "filter_chains": [{"filters": [network]}]}


def _naming(spec: Spec) -> Block:
    """Answers tell their request id where users may speak of them."""
    return {"always_set_request_id_in_response": True} if spec.feedback is not None else {}


def runtime_layers() -> Block:
    """The admin layer makes /runtime_modify work."""
    return {"layers": [{"name": "static", "static_layer": {}}, {"name": "admin", "admin_layer": {}}]}


def _heading(spec: Spec, settings: EnvoySettings, made_by: str, use: str) -> str:
    profile = "full: Envoy 1.40, alpha extensions included" if settings.profile is Profile.FULL else "core: Envoy 1.36.4 and newer"
    lines = [f"Made by `{made_by}` from Spec {spec.digest}; edit the Spec, not this file.", use, f"Profile {profile}."]
    lost = lost_features(settings)
    if lost:
        lines += ["This profile does without:", *(f"  * {feature}" for feature in lost)]
    clients = {s.name for r in spec.rollouts.values() for s in r.unit.sources if s.kind is SourceKind.API_KEY}
    keys = sorted(clients | ({"authorization"} if spec.listener.jwt is not None else set()))
    if keys:
        lines.append(f"Clients' own keys ({', '.join(keys)}) stay here: a model that needs one has a `credential` in the Spec.")
    if contract.MODEL_LAYER not in {rollout.layer for rollout in spec.rollouts.values()}:
        lines.append("No rollout chooses a model: decisions are variants only.")
    return "\n".join(lines)
