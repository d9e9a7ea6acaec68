"""What of the Spec comes from outside: environment variables and files with keys, databases. Names only; no value is known here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from extproc.domain import Credential, Spec
from extproc.errors import Problem
from extproc.plan.kubernetes.documents import Document, deploy_of
from extproc.render.settings import routed_models

_TAKEN: Final = ("/", "/etc", "/etc/envoy", "/etc/ssl/certs", "/spec", "/tmp", "/run", "/run/extproc", "/var/lib/extproc")  # noqa: S108
"""Directories that a volume of ours must not cover."""


def _of_envoy(spec: Spec) -> Iterator[Credential]:
    for model in routed_models(spec):
        if model.credential is not None:
            yield model.credential


def _of_router(spec: Spec) -> Iterator[Credential]:
    for rollout in spec.rollouts.values():
        if rollout.overrides.qa_secret is not None:
            yield rollout.overrides.qa_secret


def _of_controller(spec: Spec) -> Iterator[Credential]:
    asked = [judge.credential for judge in spec.judge.endpoints] if spec.judge is not None else []
    asked += [source.poll.credential for source in spec.flags.values() if source.poll is not None]
    asked += [spec.prometheus.credential] if spec.prometheus is not None else []
    yield from (one for one in asked if one is not None)
    # The controller looks whether the key of signed headers is there.
    yield from _of_router(spec)


_READERS: Final = {"envoy": _of_envoy, "router": _of_router, "controller": _of_controller}
"""Role -> the credentials that it reads."""


def keys_of(spec: Spec, role: str) -> tuple[str, ...]:
    """Environment variables with keys that a role reads, each once, sorted."""
    return tuple(sorted({one.env for one in _READERS[role](spec) if one.env is not None}))


def keys_of_all(spec: Spec) -> tuple[str, ...]:
    """Environment variables with keys, of every role."""
    return tuple(sorted({name for role in _READERS for name in keys_of(spec, role)}))


def environment(spec: Spec, role: str) -> list[Document]:
    """The role's keys by reference: each a key of the same name in the Secret."""
    secret = deploy_of(spec).secret
    return [{"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": name}}} for name in keys_of(spec, role)]


def files_of(spec: Spec, role: str) -> tuple[str, ...]:
    """Files that a role reads from outside, sorted."""
    found = {one.file for one in _READERS[role](spec) if one.file is not None}
    if role == "envoy":
        endpoints = [endpoint for model in routed_models(spec) for backend in model.backends for endpoint in backend.endpoints]
        found |= {one.tls.ca_file for one in endpoints if one.tls is not None and one.tls.ca_file is not None}
        jwt = spec.listener.jwt
        found |= {jwt.jwks_file} if jwt is not None and jwt.jwks_file is not None else set()
        tracing = spec.listener.tracing
        found |= {tracing.tls.ca_file} if tracing is not None and tracing.tls is not None and tracing.tls.ca_file is not None else set()
    if role == "controller" and spec.feedback is not None and spec.feedback.keys_file:
        found.add(spec.feedback.keys_file)
    return tuple(sorted(found))


def files_of_all(spec: Spec) -> tuple[str, ...]:
    """Files of every role, sorted."""
    return tuple(sorted({path for role in _READERS for path in files_of(spec, role)}))


def databases(spec: Spec) -> tuple[str, ...]:
    """Geoip databases on Envoy's machine."""
    geoip = spec.listener.geoip
    return tuple(path for path in (geoip.country, geoip.city, geoip.asn) if path is not None) if geoip is not None else ()


def problems_of_files(paths: tuple[str, ...]) -> Iterator[Problem]:
    """Files are keys of one Secret, mounted as directories: what cannot be mounted so."""
    names: dict[str, str] = {}
    for path in paths:
        directory, _, name = path.rpartition("/")
        if not path.startswith("/") or (directory or "/") in _TAKEN:
            hint = "name a file in a directory of its own, such as /etc/extproc/keys/NAME"
            yield Problem("plan.file-place", path, "cannot be mounted there", hint)
        elif names.setdefault(name, path) != path:
            message = f"has the name of {names[name]}, and both are keys of one Secret"
            yield Problem("plan.file-name", path, message, "give one of them another name")


def file_volumes(spec: Spec, role: str) -> list[Document]:
    """One volume for each directory in which the role reads files, with the Secret's keys of that directory."""
    secret = deploy_of(spec).secret
    found = []
    for number, (_, names) in enumerate(_directories(files_of(spec, role))):
        items = [{"key": name, "path": name} for name in names]
        found.append({"name": f"{role}-files-{number}", "secret": {"secretName": secret, "defaultMode": 0o440, "items": items}})
    return found


def file_mounts(spec: Spec, role: str) -> list[Document]:
    """Where those volumes are in the role's container."""
    directories = _directories(files_of(spec, role))
    return [{"name": f"{role}-files-{number}", "mountPath": one, "readOnly": True} for number, (one, _) in enumerate(directories)]


def _directories(paths: tuple[str, ...]) -> list[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for path in paths:
        directory, _, name = path.rpartition("/")
        found.setdefault(directory, []).append(name)
    return list(found.items())


def database_volumes(spec: Spec) -> list[Any]:
    """The claim with the databases, for Envoy."""
    claim = {"claimName": deploy_of(spec).databases, "readOnly": True}
    return [{"name": "databases", "persistentVolumeClaim": claim}] if databases(spec) else []


def database_mounts(spec: Spec) -> list[Any]:
    """Their directory in Envoy's container."""
    found = databases(spec)
    return [{"name": "databases", "mountPath": found[0].rpartition("/")[0], "readOnly": True}] if found else []
