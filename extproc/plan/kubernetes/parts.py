"""Parts of the rendered configuration, for an Envoy that somebody else configures: the core profile, which Envoy 1.36 and newer runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from extproc import contract
from extproc.domain import Spec
from extproc.plan.kubernetes.capacity import workers
from extproc.plan.kubernetes.containers import Places
from extproc.plan.kubernetes.documents import Document, Files, heading
from extproc.render import EnvoySettings, Profile, envoy_document
from extproc.render.yamltext import dump, typed

KEYS_MOUNT: Final = "/etc/extproc-keys"
KEYS: Final = "keys"
_INJECTOR: Final = "envoy.filters.http.credential_injector"
_OF_MANAGER: Final = (
    "use_remote_address",
    "xff_num_trusted_hops",
    "normalize_path",
    "merge_slashes",
    "stream_idle_timeout",
    "access_log_options",
    "always_set_request_id_in_response",
    "tracing",
)
"""Single values of the connection manager; the two lists are told apart, since others may have entries in them."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What has to be merged."""

    manager: Document
    """Single values of the connection manager."""
    early: list[Any]
    """early_header_mutation_extensions."""
    access_log: list[Any]
    filters: list[Any]
    """HTTP filters without the router."""
    routes: list[Any]
    """Every route, what matches no rollout included."""
    body_limit: int
    clusters: list[Any]
    secrets: list[Any]
    """Models' keys by reference, for `keys_files`."""


def parts(spec: Spec, places: Places) -> Parts:
    """The parts; raises RenderError where the core profile cannot do what the Spec asks for.

    A model's key is found through a file beside Envoy, not in its bootstrap, which is not ours to write.
    """
    endpoints = contract.endpoints(places.router, workers(spec))
    settings = EnvoySettings(endpoints, places.collector, Profile.CORE, sampler=places.sampler, feedback=places.feedback)
    made = envoy_document(spec, settings)
    resources = made["static_resources"]
    manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    host = manager["route_config"]["virtual_hosts"][0]
    for cluster in resources["clusters"]:
        _keys_from_file(cluster)
    return Parts(
        manager={key: manager[key] for key in _OF_MANAGER if key in manager},
        early=manager["early_header_mutation_extensions"],
        access_log=manager["access_log"],
        filters=manager["http_filters"][:-1],
        routes=host["routes"],
        body_limit=host["request_body_buffer_limit"],
        clusters=resources["clusters"],
        secrets=resources.get("secrets", []),
    )


def keys_files(spec: Spec, found: Parts) -> Files:
    """keys/<secret>.yaml: through these models' keys are found; names of environment variables and files, no value. One secret a file:
    Envoy refuses several (seen on 1.36 and 1.40)."""
    secrets = {secret["name"]: {**typed("transport_sockets.tls.v3.Secret"), **secret} for secret in found.secrets}
    return {
        f"{KEYS}/{name}.yaml": dump({"resources": [secret]}, heading(spec, f"Where Envoy finds {name}: a reference, no value"))
        for name, secret in secrets.items()
    }


def _keys_from_file(cluster: Document) -> None:
    for options in cluster.get("typed_extension_protocol_options", {}).values():
        for one in options.get("http_filters", []):
            if one["name"] == _INJECTOR:
                reference = one["typed_config"]["credential"]["typed_config"]["credential"]
                path = f"{KEYS_MOUNT}/{reference['name']}.yaml"
                reference["sds_config"] = {"path_config_source": {"path": path}, "resource_api_version": "V3"}


def key_maps(spec: Spec, name: str, found: Parts) -> list[Document]:
    """The ConfigMap of those files, for kustomize to make; none where no model has a key. The same for the two below."""
    return [{"name": f"{name}-keys", "files": list(keys_files(spec, found))}] if found.secrets else []


def key_volumes(name: str, found: Parts) -> list[Document]:
    """Its volume."""
    return [{"name": "model-keys", "configMap": {"name": f"{name}-keys"}}] if found.secrets else []


def key_mounts(found: Parts) -> list[Document]:
    """Where it is in Envoy's container."""
    return [{"name": "model-keys", "mountPath": KEYS_MOUNT, "readOnly": True}] if found.secrets else []
