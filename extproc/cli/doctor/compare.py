"""Envoy's own account of its configuration against what the Spec would render. Only what is ours is compared. Pure.

An Envoy that had the snippet merged into it has other clusters, filters and routes around ours: each part of ours is found by its
name, and what it says must be there; what is there besides is somebody else's. Envoy leaves out what has its default value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from extproc import contract
from extproc.domain import Spec
from extproc.render import EnvoySettings, Profile, envoy_snippet

MANAGER: Final = "envoy.filters.network.http_connection_manager"
EXT_PROC: Final = "envoy.filters.http.ext_proc"
CONSTANT: Final = "envoy.filters.http.set_metadata"
ALPHA: Final = "envoy.filters.http.ai_protocol_manager"
"""Its presence tells the profile."""
ZERO: Final = (
    None,
    "",
    0,
    False,
    0.0,
    "STATIC",
    "NONE",
    "DEFAULT",
    "ROUND_ROBIN",
    "HUNDRED",
    "APPEND_IF_EXISTS_OR_ADD",
    "PROTOBUF_VALUE",
    "MERGE",
)
"""Default values of protobuf, names of first enum values among them: Envoy does not print them."""
PASSING: Final = frozenset({"bootstrap", "warming_state", "draining_state", "error_state", "dynamic_warming_clusters"})
REDACTED: Final = "[redacted]"
"""What Envoy prints for the path of a key."""
_DURATION: Final = re.compile(r"^\d+(\.\d+)?s$")


@dataclass(frozen=True, slots=True)
class Difference:
    """At `path` the Spec wants one thing, and Envoy has another; None: nothing."""

    path: str
    expected: Any
    seen: Any

    def __str__(self) -> str:
        return f"{self.path}: {_brief(self.expected)} -> {_brief(self.seen)}"


@dataclass(frozen=True, slots=True)
class Dumped:
    """The parts of a /config_dump that matter."""

    manager: Mapping[str, Any] | None
    """The connection manager that asks our router; None: there is none."""
    clusters: Mapping[str, Mapping[str, Any]]
    routes: Sequence[Mapping[str, Any]]
    """Of the virtual host that has most of ours."""

    @property
    def filters(self) -> list[Mapping[str, Any]]:
        """HTTP filters of the manager, in order."""
        return list(self.manager.get("http_filters", ())) if self.manager is not None else []

    @property
    def profile(self) -> Profile:
        """The one that this Envoy was rendered with."""
        return Profile.FULL if any(one["name"] == ALPHA for one in self.filters) else Profile.CORE

    @property
    def digest(self) -> str:
        """Of the Spec that this configuration was rendered from; empty where it does not say."""
        for metadata in _all(self.manager or {}, "metadata"):
            for one in metadata if isinstance(metadata, list) else ():
                if one.get("metadata_namespace") == contract.CONFIG_NAMESPACE:
                    return str(one.get("value", {}).get("spec", ""))
        return ""


def dumped(config: Mapping[str, Any], rollouts: Sequence[str]) -> Dumped:
    """What a /config_dump says about us."""
    config = _in_force(config)
    managers = [one["typed_config"] for one in _named(config, MANAGER) if "typed_config" in one]
    ours = [one for one in managers if any(_asks_us(found) for found in one.get("http_filters", ()))]
    clusters = {one["name"]: one for one in _all(config, "cluster") if isinstance(one, Mapping) and "name" in one}
    hosts = [host for hosts in _all(config, "virtual_hosts") for host in hosts]
    wanted = tuple(f"{name}/" for name in rollouts)
    routes = max(
        ([*host.get("routes", ())] for host in hosts), key=lambda found: sum(_name(r).startswith(wanted) for r in found), default=[]
    )
    return Dumped(ours[0] if ours else None, clusters, routes)


def differences(spec: Spec, settings: EnvoySettings, there: Dumped) -> list[Difference]:
    """Everything in which Envoy's configuration is not what the Spec would render."""
    wanted = yaml.safe_load(envoy_snippet(spec, settings, "doctor"))
    found: list[Difference] = []
    for cluster in wanted["clusters"]:
        found += _compare(f"clusters.{cluster['name']}", cluster, there.clusters.get(cluster["name"]))
    if there.manager is None:
        return [*found, Difference(f"http_filters.{EXT_PROC}", f"asks {contract.ROUTER_CLUSTER}", None)]
    manager = wanted["http_connection_manager"]
    found += _manager(manager, there.manager)
    found += _filters(wanted["http_filters"], there.filters)
    found += _routes(wanted["routes"], there.routes)
    return found


def _manager(wanted: Mapping[str, Any], seen: Mapping[str, Any]) -> Iterator[Difference]:
    for key in ("use_remote_address", "xff_num_trusted_hops", "access_log_options"):
        yield from _compare(f"http_connection_manager.{key}", wanted[key], seen.get(key))
    # Mutations may be spread over several extensions, and others may stand between ours.
    mutations = [one for part in seen.get("early_header_mutation_extensions", ()) for one in part["typed_config"].get("mutations", ())]
    for extension in wanted["early_header_mutation_extensions"]:
        for mutation in extension["typed_config"]["mutations"]:
            if not any(_same(mutation, one) for one in mutations):
                yield Difference("http_connection_manager.early_header_mutation_extensions", mutation, None)
    for log in wanted["access_log"]:
        path = f"http_connection_manager.access_log.{contract.ACCESS_LOG_NAME}"
        ours = [one for one in seen.get("access_log", ()) if _log_name(one) == contract.ACCESS_LOG_NAME]
        yield from _compare(path, log, ours[0] if ours else None)


def _filters(wanted: Sequence[Mapping[str, Any]], seen: Sequence[Mapping[str, Any]]) -> Iterator[Difference]:
    for one in wanted:
        ours = [there for there in seen if there["name"] == one["name"]]
        if one["name"] != CONSTANT:  # it holds the digest, which changes with every edit of the Spec
            yield from _compare(f"http_filters.{one['name']}", one, ours[0] if ours else None)
        elif not ours:
            yield Difference(f"http_filters.{CONSTANT}", "a constant namespace", None)
    yield from _order("http_filters", [_name(one) for one in wanted], [_name(one) for one in seen])


def _routes(wanted: Sequence[Mapping[str, Any]], seen: Sequence[Mapping[str, Any]]) -> Iterator[Difference]:
    there = {_name(route): route for route in seen}
    for route in wanted:
        yield from _compare(f"routes.{route['name']}", route, there.get(route["name"]))
    yield from _order("routes", [_name(one) for one in wanted], [_name(one) for one in seen])


def _order(path: str, wanted: list[str], seen: list[str]) -> Iterator[Difference]:
    """Ours, as far as they are there, stand in the order that is needed."""
    there = [name for name in seen if name in wanted]
    needed = [name for name in wanted if name in there]
    if there != needed:
        yield Difference(f"{path} (order)", needed, there)


def _compare(path: str, wanted: Any, seen: Any) -> Iterator[Difference]:
    """What `wanted` says must be in `seen`; mappings may hold more, lists may not."""
    if isinstance(wanted, Mapping) and isinstance(seen, Mapping):
        for key, value in wanted.items():
            yield from _compare(f"{path}.{key}", value, seen.get(key))
    elif isinstance(wanted, list) and isinstance(seen, list) and len(wanted) == len(seen):
        for index, (one, other) in enumerate(zip(wanted, seen, strict=True)):
            yield from _compare(f"{path}[{index}]", one, other)
    elif seen != REDACTED and _plain(wanted) != _plain(seen):
        yield Difference(path, wanted, seen)


def _same(wanted: Any, seen: Any) -> bool:
    return not any(_compare("", wanted, seen))


def _plain(value: Any) -> Any:
    """One spelling for what means the same: 0.05s and 0.050s, a default and nothing. A message that is there and empty, or a duration
    of zero, is not nothing: Envoy prints it, and may have another default."""
    if isinstance(value, Mapping):
        plain = {key: _plain(one) for key, one in value.items()}
        return {key: one for key, one in plain.items() if one is not None}
    if isinstance(value, list):
        return [_plain(one) for one in value] or None
    if isinstance(value, str) and _DURATION.match(value):
        return float(value[:-1])
    return None if value in ZERO else value


def _in_force(tree: Any) -> Any:
    """Without what Envoy was started with, what has not come into force, and what is on its way out."""
    if isinstance(tree, Mapping):
        return {key: _in_force(value) for key, value in tree.items() if key not in PASSING}
    return [_in_force(value) for value in tree] if isinstance(tree, list) else tree


def _asks_us(found: Mapping[str, Any]) -> bool:
    service = found.get("typed_config", {}).get("grpc_service", {})
    return found.get("name") == EXT_PROC and service.get("envoy_grpc", {}).get("cluster_name") == contract.ROUTER_CLUSTER


def _log_name(found: Mapping[str, Any]) -> str:
    return str(found.get("typed_config", {}).get("common_config", {}).get("log_name", ""))


def _name(found: Mapping[str, Any]) -> str:
    return str(found.get("name", ""))


def _named(tree: Any, name: str) -> Iterator[Mapping[str, Any]]:
    if isinstance(tree, Mapping):
        if tree.get("name") == name:
            yield tree
        for value in tree.values():
            yield from _named(value, name)
    elif isinstance(tree, list):
        for value in tree:
            yield from _named(value, name)


def _all(tree: Any, key: str) -> Iterator[Any]:
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            if name == key:
                yield value
            yield from _all(value, key)
    elif isinstance(tree, list):
        for value in tree:
            yield from _all(value, key)


def _brief(value: Any) -> str:
    if value is None:
        return "nothing"
    text = str(value)
    return text if len(text) <= 160 else text[:157] + "..."
