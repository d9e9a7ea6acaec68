"""Envoy's side of mutual TLS towards router and controller: which certificate it shows, and whom it believes.

With a directory of secrets (`EnvoySettings.secrets`, `XdsSettings.secrets`) the certificates come by SDS from files: Envoy watches their
directories and takes what was moved there, with no restart. It notices moves alone, such as those of a Kubernetes Secret or of `mv -T`,
not a file that is written in place. Without it Envoy reads the certificates once, when it starts.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Final

from extproc.errors import Problem
from extproc.render.settings import EnvoySettings, RenderError, RouterTls
from extproc.render.yamltext import Block, dump, typed

CLIENT: Final = "extproc_client"
ROUTER_AUTHORITIES: Final = "extproc_router_authorities"
CONTROLLER_AUTHORITIES: Final = "extproc_controller_authorities"
XDS_CLIENT: Final = "extproc_xds_client"
XDS_AUTHORITIES: Final = "extproc_xds_authorities"


def router_socket(settings: EnvoySettings) -> Block:
    """What the router's cluster needs for TLS; nothing where it has none."""
    tls = settings.router_tls
    if tls is None:
        return {}
    return {"transport_socket": _socket(settings.secrets, tls, tls.name, (CLIENT, ROUTER_AUTHORITIES), ["h2"])}


def controller_socket(settings: EnvoySettings, addresses: str, protocols: list[str]) -> Block:
    """The same for a port of the controller, or of several, with commas between them; a Unix socket and loopback have no TLS, as a
    controller listens there without it. Raises RenderError where several have no name that all their certificates bear."""
    tls, beyond = settings.controller_tls, [one for one in addresses.split(",") if is_beyond(one)]
    if tls is None or not beyond:
        return {}
    hosts = {host_of(one) for one in beyond}
    if not tls.name and len(hosts) > 1:
        message = f"{', '.join(sorted(hosts))} are several, and Envoy compares one name with each of their certificates"
        hint = "give their certificates one name, and say it with --controller-name"
        raise RenderError(Problem("render.controller-name", "--controller-name", message, hint))
    return {"transport_socket": _socket(settings.secrets, tls, tls.name or host_of(beyond[0]), (CLIENT, CONTROLLER_AUTHORITIES), protocols)}


def xds_socket(tls: RouterTls, secrets: str) -> Block:
    """TLS towards the controller that tells an Envoy everything; `secrets`: directory of `xds_secret_files`, "" to read `tls` once."""
    return _socket(secrets, tls, tls.name, (XDS_CLIENT, XDS_AUTHORITIES), ["h2"])


def host_of(address: str) -> str:
    """The host of HOST:PORT, an IPv6 address without its brackets."""
    return address.rpartition(":")[0].strip("[]")


def is_beyond(address: str) -> bool:
    """True for HOST:PORT that others than this machine could be."""
    if address.startswith("unix:"):
        return False
    try:
        return not ip_address(host_of(address)).is_loopback
    except ValueError:
        return host_of(address) != "localhost"


def secret_files(settings: EnvoySettings, made_by: str) -> dict[str, str]:
    """Name to text of the files that have to lie in `EnvoySettings.secrets`; none where it is empty."""
    if not settings.secrets:
        return {}
    found: dict[str, Block] = {}
    for tls, authorities in ((settings.router_tls, ROUTER_AUTHORITIES), (settings.controller_tls, CONTROLLER_AUTHORITIES)):
        if tls is not None:
            found |= _secrets(tls, (CLIENT, authorities))
    return _texts(found, made_by)


def xds_secret_files(tls: RouterTls, made_by: str) -> dict[str, str]:
    """The same for the way to the controller."""
    return _texts(_secrets(tls, (XDS_CLIENT, XDS_AUTHORITIES)), made_by)


def _secrets(tls: RouterTls, names: tuple[str, str]) -> dict[str, Block]:
    """By name: the authorities, and Envoy's own certificate where it has one."""
    client, authorities = names
    trusted = {"trusted_ca": {"filename": tls.ca}, "watched_directory": {"path": _directory(tls.ca)}}
    found: dict[str, Block] = {authorities: {"validation_context": trusted}}
    if tls.certificate:
        files = {"certificate_chain": {"filename": tls.certificate}, "private_key": {"filename": tls.key}}
        found[client] = {"tls_certificate": {**files, "watched_directory": {"path": _directory(tls.certificate)}}}
    return found


def _texts(secrets: dict[str, Block], made_by: str) -> dict[str, str]:
    heading = f"Made by `{made_by}`. Envoy reads it where its own configuration names it, and the files below again when they are moved."
    return {
        f"{name}.yaml": dump({"resources": [{**typed("transport_sockets.tls.v3.Secret"), "name": name, **secret}]}, heading)
        for name, secret in secrets.items()
    }


def upstream_tls(name: str, trusted: Block, common: Block) -> Block:
    """TLS towards somebody whose certificate must name `name` (a DNS name or an address); `trusted`: a validation context."""
    context: Block = {"common_tls_context": {**common, **_validation(name, trusted)}}
    if not is_address(name):
        context |= {"sni": name, "auto_sni_san_validation": True}
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed("transport_sockets.tls.v3.UpstreamTlsContext", **context)}


def is_address(host: str) -> bool:
    """True for an IP address."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _socket(secrets: str, tls: RouterTls, name: str, names: tuple[str, str], protocols: list[str]) -> Block:
    """`names`: of the secrets with Envoy's certificate and the authorities."""
    client, authorities = names
    if not secrets:
        return _file_tls(tls, name, protocols)
    common: Block = {"alpn_protocols": protocols}
    if tls.certificate:
        common["tls_certificate_sds_secret_configs"] = [_by_sds(secrets, client)]
    return upstream_tls(name, _by_sds(secrets, authorities), common)


def _file_tls(tls: RouterTls, name: str, protocols: list[str]) -> Block:
    """Mutual TLS with files that Envoy reads once, when it starts."""
    common: Block = {"alpn_protocols": protocols}
    if tls.certificate:
        common["tls_certificates"] = [{"certificate_chain": {"filename": tls.certificate}, "private_key": {"filename": tls.key}}]
    return upstream_tls(name, {"trusted_ca": {"filename": tls.ca}}, common)


def _validation(name: str, trusted: Block) -> Block:
    # A server name is never an address (RFC 6066): the certificate has to name the address instead.
    named: Block = {"match_typed_subject_alt_names": [{"san_type": "IP_ADDRESS", "matcher": {"exact": name}}]} if is_address(name) else {}
    if "sds_config" not in trusted:
        return {"validation_context": {**trusted, **named}}
    if not named:
        return {"validation_context_sds_secret_config": trusted}
    return {"combined_validation_context": {"default_validation_context": named, "validation_context_sds_secret_config": trusted}}


def _by_sds(secrets: str, name: str) -> dict[str, Any]:
    source = {"path_config_source": {"path": f"{secrets.rstrip('/')}/{name}.yaml"}, "resource_api_version": "V3"}
    return {"name": name, "sds_config": source}


def _directory(path: str) -> str:
    return path.rpartition("/")[0] or "."
