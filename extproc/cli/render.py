"""Write: render, files made from a Spec."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from extproc import contract
from extproc.cli.write import SpecArgument, write_file
from extproc.errors import Problem, SettingsError
from extproc.render import EnvoySettings, Profile, RouterTls, envoy_snippet, envoy_yaml, lost_features, secret_files
from extproc.render.peers import host_of
from extproc.render.settings import CA_BUNDLE

RouterOption = Annotated[str, typer.Option(help="Where the router listens (its --listen): unix:PATH or HOST:PORT.")]
WorkersOption = Annotated[int, typer.Option(min=1, max=256, help="The router's worker processes, one endpoint each.")]
SamplerOption = Annotated[str, typer.Option(help="Where copies for the judge go (the controller's --sampler): unix:PATH or HOST:PORT.")]
FeedbackOption = Annotated[str, typer.Option(help="Where users' feedback goes (the controller's --feedback-listen): HOST:PORT.")]
CollectorOption = Annotated[str, typer.Option(help="Where the controller takes the access log (its --collector): unix:PATH or HOST:PORT.")]
ProfileOption = Annotated[Profile, typer.Option(help="full: Envoy 1.40 with alpha extensions. core: Envoy 1.36.4 and newer, without them.")]
BundleOption = Annotated[str, typer.Option(help="Authorities (PEM) on Envoy's machine, for models whose Spec names no ca_file.")]
RouterCaOption = Annotated[str, typer.Option(metavar="FILE", help="TLS towards the router: authorities (PEM) that signed its --tls-cert.")]
RouterNameOption = Annotated[str, typer.Option(metavar="NAME", help="What its certificate names; by default the host of --router.")]
ControllerCaOption = Annotated[
    str,
    typer.Option(
        metavar="FILE", help="TLS towards the controller, where it is neither a Unix socket nor loopback: authorities of its certificate."
    ),
]
ControllerNameOption = Annotated[str, typer.Option(metavar="NAME", help="What that names; by default the host of each address.")]
ClientCertOption = Annotated[str, typer.Option(metavar="FILE", help="Mutual TLS: Envoy's chain (PEM), signed by their --tls-client-ca.")]
ClientKeyOption = Annotated[str, typer.Option(metavar="FILE", help="Its key (PEM).")]
SecretsOption = Annotated[
    str,
    typer.Option(
        metavar="DIR", help="Rotated certificates without a restart: writes small files (SDS) there, for that place on Envoy's machine."
    ),
]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="File to write; standard output by default.")]


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    from extproc.cli import WRITE
    from extproc.cli.bootstrap import bootstrap
    from extproc.cli.flags import flags

    render = typer.Typer(no_args_is_help=True)
    render.callback()(_render)
    render.command()(envoy)
    render.command()(bootstrap)
    render.command()(flags)
    app.add_typer(render, name="render", rich_help_panel=WRITE)


def _render() -> None:
    """Write what runs around extproc from the Spec: Envoy's configuration, feature flags."""


def envoy(
    spec: SpecArgument,
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
    secrets: SecretsOption = "",
    snippet: Annotated[bool, typer.Option("--snippet", help="Only the parts to merge into an Envoy of your own.")] = False,
    output: OutputOption = None,
) -> None:
    """A configuration for Envoy: strips what clients must not say, asks the router, sends each request to its model."""
    from extproc import spec as specs

    check_addresses(router, collector, sampler, feedback)
    tls = {"--router-ca": router_ca, "--router-name": router_name, "--client-cert": client_cert, "--client-key": client_key}
    tls |= {"--controller-ca": controller_ca, "--controller-name": controller_name, "--secrets": secrets}
    chosen = {"--router": router, "--workers": str(workers), "--collector": collector, "--sampler": sampler}
    chosen["--feedback"] = feedback
    chosen |= {"--profile": profile.value, "--ca-bundle": ca_bundle}
    made_by = _command(spec, chosen | tls, snippet)
    endpoints = contract.endpoints(router, workers)
    to_router, to_controller = peers(tls, router)
    settings = EnvoySettings(
        endpoints, collector, profile, ca_bundle, router_tls=to_router, sampler=sampler, feedback=feedback,
        controller_tls=to_controller, secrets=secrets,
    )  # fmt: skip
    loaded = specs.read(str(spec))
    text = envoy_snippet(loaded, settings, made_by) if snippet else envoy_yaml(loaded, settings, made_by)
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_file(output, text)
    for name, content in secret_files(settings, made_by).items():
        write_file(Path(secrets) / name, content)
    for feature in lost_features(settings):
        typer.echo(f"profile {profile.value} does without {feature}", err=True)


def check_addresses(*addresses: str) -> None:
    """Each is one address, or several with commas between them; raises SettingsError."""
    from extproc.transport import parse_address

    for several in addresses:
        for one in several.split(","):
            parse_address(one)


def peers(given: dict[str, str], router: str) -> tuple[RouterTls | None, RouterTls | None]:
    """What the options mean together, towards the router and the controller; raises SettingsError where they contradict each other."""
    ca, name, certificate, key, controller_ca, controller_name, secrets = given.values()
    problems = []
    if bool(certificate) != bool(key):
        missing = "--client-key" if certificate else "--client-cert"
        problems.append(Problem("settings.tls", missing, "certificate and key belong together", f"add {missing}"))
    if not ca and (name or ((certificate or key) and not controller_ca)):
        problems.append(Problem("settings.tls", "--router-ca", "without it Envoy would trust any router", "add --router-ca"))
    if ca and not name and router.startswith("unix:"):
        problems.append(Problem("settings.tls", "--router-name", "a Unix socket has no name", "add what the certificate names"))
    if controller_name and not controller_ca:
        problems.append(Problem("settings.tls", "--controller-ca", "without it Envoy would trust any controller", "add --controller-ca"))
    if secrets and not ca and not controller_ca:
        hint = "add --router-ca or --controller-ca, or leave it out"
        problems.append(Problem("settings.tls", "--secrets", "there are no certificates that it could renew", hint))
    if problems:
        raise SettingsError(problems)
    to_router = RouterTls(ca, name or host_of(router), certificate, key) if ca else None
    return to_router, RouterTls(controller_ca, controller_name, certificate, key) if controller_ca else None


def _command(spec: Path, chosen: dict[str, str], snippet: bool) -> str:
    words = words_of("envoy", str(spec), chosen)
    return shlex.join([*words, "--snippet"] if snippet else words)


def words_of(command: str, spec: str, chosen: dict[str, str]) -> list[str]:
    """The command again, without what is a default anyway."""
    defaults = {
        "--router": contract.DEFAULT_ROUTER_LISTEN,
        "--workers": "2",
        "--collector": contract.DEFAULT_COLLECTOR_LISTEN,
        "--sampler": contract.DEFAULT_SAMPLER_LISTEN,
        "--feedback": contract.DEFAULT_FEEDBACK_LISTEN,
        "--profile": Profile.FULL.value,
        "--ca-bundle": CA_BUNDLE,
    }
    words = ["extproc", "render", command, spec]
    for option, value in chosen.items():
        words += [option, value] if value != defaults.get(option, "") else []
    return words
