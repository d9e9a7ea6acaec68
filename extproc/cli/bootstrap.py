"""Write: render bootstrap, what an Envoy starts with that the controller tells everything else (xDS)."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from extproc import contract
from extproc.cli.render import (
    BundleOption,
    ClientCertOption,
    ClientKeyOption,
    CollectorOption,
    ControllerCaOption,
    ControllerNameOption,
    FeedbackOption,
    OutputOption,
    ProfileOption,
    RouterCaOption,
    RouterNameOption,
    RouterOption,
    SamplerOption,
    SecretsOption,
    WorkersOption,
    check_addresses,
    peers,
    words_of,
)
from extproc.cli.write import SpecArgument, write_file
from extproc.errors import Problem, SettingsError
from extproc.render import EnvoySettings, Profile, RouterTls
from extproc.render.bootstrap import XdsSettings, bootstrap_secrets, bootstrap_yaml
from extproc.render.settings import CA_BUNDLE

XdsOption = Annotated[str, typer.Option("--xds", help="Where the controller tells (its --xds), as Envoy sees it: unix:PATH or HOST:PORT.")]
NodeOption = Annotated[str, typer.Option(help="Name of this Envoy in status; each needs its own.", show_default="extproc-APPLICATION")]
SotwOption = Annotated[bool, typer.Option("--sotw", help="Everything of a kind at each change (state of the world), not changes alone.")]
XdsCaOption = Annotated[str, typer.Option(metavar="FILE", help="Authorities (PEM) that signed the controller's --tls-cert.")]
XdsNameOption = Annotated[str, typer.Option(metavar="NAME", help="What its certificate names; by default the host of --xds.")]
XdsCertOption = Annotated[str, typer.Option(metavar="FILE", help="Mutual TLS: Envoy's chain (PEM), signed by --tls-client-ca.")]
XdsKeyOption = Annotated[str, typer.Option(metavar="FILE", help="Its key (PEM).")]


def bootstrap(
    spec: SpecArgument,
    xds: XdsOption,
    node: NodeOption = "",
    sotw: SotwOption = False,
    router: RouterOption = contract.DEFAULT_ROUTER_LISTEN,
    workers: WorkersOption = 2,
    collector: CollectorOption = contract.DEFAULT_COLLECTOR_LISTEN,
    sampler: SamplerOption = contract.DEFAULT_SAMPLER_LISTEN,
    feedback: FeedbackOption = contract.DEFAULT_FEEDBACK_LISTEN,
    profile: ProfileOption = Profile.FULL,
    ca_bundle: BundleOption = CA_BUNDLE,
    router_ca: RouterCaOption = "",
    router_name: RouterNameOption = "",
    client_cert: ClientCertOption = "",
    client_key: ClientKeyOption = "",
    controller_ca: ControllerCaOption = "",
    controller_name: ControllerNameOption = "",
    xds_ca: XdsCaOption = "",
    xds_name: XdsNameOption = "",
    xds_cert: XdsCertOption = "",
    xds_key: XdsKeyOption = "",
    secrets: SecretsOption = "",
    output: OutputOption = None,
) -> None:
    """The few lines that an Envoy starts with; listeners, routes, clusters and all else it asks the controller for (xDS)."""
    from extproc import spec as specs

    check_addresses(router, xds, collector, sampler, feedback)
    tls = {"--router-ca": router_ca, "--router-name": router_name, "--client-cert": client_cert, "--client-key": client_key}
    tls |= {"--controller-ca": controller_ca, "--controller-name": controller_name, "--secrets": ""}
    own = {"--xds-ca": xds_ca, "--xds-name": xds_name, "--xds-cert": xds_cert, "--xds-key": xds_key}
    own["--secrets"] = secrets
    chosen = {"--xds": xds, "--node": node, "--router": router, "--workers": str(workers), "--collector": collector}
    chosen |= {"--sampler": sampler, "--feedback": feedback, "--profile": profile.value, "--ca-bundle": ca_bundle}
    words = words_of("bootstrap", str(spec), chosen | tls | own)
    made_by = shlex.join([*words, "--sotw"] if sotw else words)
    loaded = specs.read(str(spec))
    to_router, to_controller = peers(tls, router)
    settings = EnvoySettings(
        contract.endpoints(router, workers),
        collector,
        profile,
        ca_bundle,
        router_tls=to_router,
        sampler=sampler,
        feedback=feedback,
        controller_tls=to_controller,
    )
    way = XdsSettings(xds, node or f"extproc-{loaded.application.name}", not sotw, _xds_tls(own, xds), secrets)
    text = bootstrap_yaml(loaded, settings, way, made_by)
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_file(output, text)
    for name, content in bootstrap_secrets(way, made_by).items():
        write_file(Path(secrets) / name, content)


def _xds_tls(given: dict[str, str], address: str) -> RouterTls | None:
    """What these options mean together: the same as the router's; raises SettingsError where they contradict each other."""
    try:
        own = {name: value for name, value in given.items() if name != "--secrets"}
        every = {**own, "--controller-ca": "", "--controller-name": "", "--secrets": given["--secrets"]}
        return peers(every, address.split(",")[0])[0]
    except SettingsError as error:
        named = {"--router-ca": "--xds-ca", "--router-name": "--xds-name", "--client-cert": "--xds-cert", "--client-key": "--xds-key"}
        hints = {old: f"add {new}" for old, new in named.items()}
        hints["--secrets"] = "add --xds-ca, or leave it out"
        problems = [
            Problem(one.id, named.get(one.path, one.path), one.message.replace("router", "controller"), hints[one.path])
            for one in error.problems
        ]
        raise SettingsError(problems) from error
