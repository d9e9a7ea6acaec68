"""The few lines that an Envoy starts with where the controller tells it everything else (xDS).

What depends on Envoy's machine (where router and collector are, as Envoy sees them, and how new it is) is in its node's metadata: the
controller makes the configuration of each Envoy from the Spec and from that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from extproc import contract
from extproc.domain import Spec
from extproc.errors import Problem
from extproc.render.clusters import gathered, http_options, several
from extproc.render.discovered import ADS
from extproc.render.envoy import admin, runtime_layers
from extproc.render.peers import xds_secret_files, xds_socket
from extproc.render.settings import EnvoySettings, Profile, RenderError, RouterTls
from extproc.render.shadow import INTERNAL
from extproc.render.yamltext import Block, dump

METADATA: Final = "extproc"
"""Key of the node's metadata."""
TALKS: Final = {"interval": "10s", "timeout": "5s"}
"""HTTP/2 keepalive: a controller's machine that is gone is noticed."""


AGAIN: Final = {"base_interval": "0.2s", "max_interval": "2s"}
"""When a controller is asked again that was away; Envoy's own bound is 30 s (seen: 14 s after a restart), long for an off switch."""


@dataclass(frozen=True, slots=True)
class XdsSettings:
    """The way to the controller, as Envoy sees it."""

    address: str
    """unix:PATH or HOST:PORT; of several controllers, with commas between them."""
    node: str
    """Name of this Envoy, for `status` and metrics; one for each."""
    delta: bool = True
    """Changes alone are sent; else everything of a kind, each time."""
    tls: RouterTls | None = None
    """Mutual TLS towards the controller."""
    secrets: str = ""
    """Directory, on Envoy's machine, of the files that name its certificates: Envoy takes new ones by itself. "" to read them once."""


def bootstrap_yaml(spec: Spec, settings: EnvoySettings, xds: XdsSettings, made_by: str) -> str:
    """The file; nothing of a Spec is in it but the application's name and the admin port."""
    use = "Run it: envoy --config-path THIS_FILE; everything else comes from the controller (extproc controller --xds)."
    service = {"envoy_grpc": {"cluster_name": contract.XDS_CLUSTER, "retry_policy": {"retry_back_off": AGAIN}}}
    api = {"api_type": "DELTA_GRPC" if xds.delta else "GRPC", "transport_api_version": "V3", "grpc_services": [service]}
    document: Block = {
        "admin": admin(spec.listener.admin_port),
        "node": {"id": xds.node, "cluster": spec.application.name, "metadata": {METADATA: told(settings)}},
        "dynamic_resources": {"ads_config": api, "cds_config": ADS, "lds_config": ADS},
        "static_resources": {"clusters": [_cluster(xds)]},
        "layered_runtime": runtime_layers(),
        "bootstrap_extensions": [INTERNAL],
    }
    return dump(document, f"Made by `{made_by}`.\n{use}", short=True)


def _cluster(xds: XdsSettings) -> Block:
    cluster = {
        **gathered(contract.XDS_CLUSTER, several(xds.address)),
        "connect_timeout": "1s",
        **http_options({"explicit_http_config": {"http2_protocol_options": {"connection_keepalive": TALKS}}}),
    }
    if xds.tls is not None:
        cluster["transport_socket"] = xds_socket(xds.tls, xds.secrets)
    return cluster


def bootstrap_secrets(xds: XdsSettings, made_by: str) -> dict[str, str]:
    """Name to text of the files that have to lie in `XdsSettings.secrets`; none where it is empty."""
    return xds_secret_files(xds.tls, made_by) if xds.tls is not None and xds.secrets else {}


def told(settings: EnvoySettings) -> Block:
    """Settings as metadata: `settings_told` reads them."""
    document: Block = {
        "router": list(settings.router),
        "collector": settings.collector,
        "sampler": settings.sampler,
        "feedback": settings.feedback,
        "profile": settings.profile.value,
        "ca_bundle": settings.ca_bundle,
        "message_timeout": settings.message_timeout,
    }
    for name, tls in (("router_tls", settings.router_tls), ("controller_tls", settings.controller_tls)):
        if tls is not None:
            document[name] = {"ca": tls.ca, "name": tls.name, "certificate": tls.certificate, "key": tls.key}
    return document


def settings_told(metadata: Mapping[str, Any]) -> EnvoySettings:
    """Settings of an Envoy that says this of itself; raises RenderError where they cannot be understood."""
    given = metadata.get(METADATA)
    try:
        if not isinstance(given, dict):
            raise ValueError("there are none")
        written = given
        tls = {name: RouterTls(**written[name]) for name in ("router_tls", "controller_tls") if name in written}
        router = tuple(written["router"])
        texts = {key: written[key] for key in ("collector", "sampler", "feedback", "ca_bundle")}
        if not router or not all(isinstance(text, str) for text in (*router, *texts.values())):
            raise ValueError("addresses are texts")
        for where in (*router, texts["collector"], texts["sampler"], texts["feedback"]):
            several(where)
        profile, timeout = Profile(written["profile"]), float(written["message_timeout"])
        to_router, to_controller = tls.get("router_tls"), tls.get("controller_tls")
        return EnvoySettings(
            router=router, profile=profile, message_timeout=timeout, router_tls=to_router, controller_tls=to_controller, **texts
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        hint = "write its bootstrap with `extproc render bootstrap` of this version"
        raise RenderError(Problem("xds.metadata", f"node.metadata.{METADATA}", f"cannot be understood: {error}", hint)) from error
