"""Kubernetes EndpointSlices in files: which addresses of a cluster are ready.

A file has JSON or YAML: a list, one slice, several documents one after the other (a later one takes the place of an earlier one of the
same name), or watch events with `type` and `object`. So `kubectl get endpointslices -l kubernetes.io/service-name=NAME -o json` writes
one, and a sidecar may do the same. An endpoint is ready unless it says that it is not (`ready: null` is ready, as Kubernetes has it).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import yaml

from extproc.domain import Slices, Spec
from extproc.errors import ExtprocError, Problem
from extproc.runtime.follow import stamp

LARGEST: Final = 16 << 20
"""Bytes of a file; 100 replicas are 50 KB."""
ADDRESS_TYPES: Final = ("IPv4", "IPv6")
Places = tuple[tuple[str, int], ...]


class SlicesError(ExtprocError):
    """A file of slices cannot be used."""


def ready_in(text: str, port: str | None) -> Places:
    """(address, port) of each endpoint that is ready, sorted; raises ValueError for what is no EndpointSlice."""
    slices: dict[str, Mapping[str, Any]] = {}
    for kind, one in _objects(text):
        metadata = _mapping(one.get("metadata") or {})
        name = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
        if kind == "DELETED":
            slices.pop(name, None)
        else:
            slices[name] = one
    return tuple(sorted({place for one in slices.values() for place in _ready(one, port)}))


def _objects(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(kind of event, slice); a list gives each of its items."""
    for document in _documents(text):
        one, kind = _mapping(document), ""
        if "object" in one and "type" in one:
            one, kind = _mapping(one["object"]), str(one["type"])
        items = one.get("items")
        if isinstance(items, list):
            yield from (("", _mapping(item)) for item in items)
        elif one.get("kind") == "EndpointSlice":
            yield kind, one
        elif kind != "BOOKMARK":
            raise ValueError(f"a document of kind {one.get('kind')!r} is no EndpointSlice")


def _documents(text: str) -> Iterator[Any]:
    rest = text.lstrip()
    if not rest.startswith("{"):
        try:
            yield from (one for one in yaml.safe_load_all(text) if one is not None)
        except yaml.YAMLError as error:
            raise ValueError("is neither JSON nor YAML") from error
        return
    decoder = json.JSONDecoder()
    while rest:
        document, end = decoder.raw_decode(rest)
        yield document
        rest = rest[end:].lstrip()


def _ready(one: Mapping[str, Any], port: str | None) -> Iterator[tuple[str, int]]:
    if one.get("addressType", "IPv4") not in ADDRESS_TYPES:
        return
    ports = [given for given in map(_mapping, one.get("ports") or []) if port is None or given.get("name") == port]
    if not ports:
        return
    if len(ports) > 1:
        raise ValueError(f"has the ports {', '.join(str(given.get('name')) for given in ports)}: name one in endpoint_slices.port")
    number = ports[0].get("port")
    if not isinstance(number, int) or not 0 < number < 65536:
        raise ValueError(f"{number!r} is no port")
    for endpoint in map(_mapping, one.get("endpoints") or []):
        if _mapping(endpoint.get("conditions") or {}).get("ready") is not False:
            # Envoy would refuse what is no address, and with it all other changes.
            yield from ((str(ip_address(address)), number) for address in endpoint.get("addresses") or [])


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("has something else where a mapping is due")
    return value


class SliceFiles:
    """The files that a Spec names, as they were last of use."""

    def __init__(self) -> None:
        self._seen: dict[Slices, tuple[int, ...]] = {}
        self._good: dict[Slices, Places] = {}
        self.problems: dict[str, Problem] = {}
        """Cluster -> why its file is not in force; the last good one is."""

    def look(self, spec: Spec) -> dict[str, Places]:
        """Cluster -> what is ready, of every cluster whose endpoints are in a file; changed files are read again."""
        found: dict[str, Places] = {}
        wanted = {backend.cluster: backend.slices for model in spec.models.values() for backend in model.backends if backend.slices}
        for cluster, slices in wanted.items():
            now = stamp(slices.file)
            if self._seen.get(slices) != now:
                self._seen[slices] = now
                self._read(cluster, slices)
            found[cluster] = self._good.get(slices, ())
        self.problems = {cluster: problem for cluster, problem in self.problems.items() if cluster in wanted}
        return found

    def _read(self, cluster: str, slices: Slices) -> None:
        try:
            path = Path(slices.file)
            if path.stat().st_size > LARGEST:
                raise ValueError(f"is larger than {LARGEST >> 20} MiB")
            self._good[slices] = ready_in(path.read_text(encoding="utf-8"), slices.port)
        except (OSError, ValueError) as error:
            hint = "write the whole of it under another name, then rename it; the last good endpoints stay"
            self.problems[cluster] = Problem("slices.file", slices.file, f"cannot be used: {error}", hint)
        else:
            self.problems.pop(cluster, None)
