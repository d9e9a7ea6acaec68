"""Run: router, controller, serve."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

import typer

from extproc import contract, logs
from extproc.router.settings import RouterSettings
from extproc.transport import Security, TransportName

SpecOption = Annotated[Path, typer.Option("--spec", help="The Spec: one YAML file.", show_default=False)]
StoreOption = Annotated[str, typer.Option(envvar=contract.STORE_ENVIRONMENT, help="Where State and Journal live.")]
ListenOption = Annotated[str, typer.Option(help="unix:PATH (recommended) or HOST:PORT; each worker gets its own endpoint from it.")]
WorkersOption = Annotated[int, typer.Option(min=1, max=256, help="Worker processes, one endpoint each.")]
TransportOption = Annotated[TransportName, typer.Option(help="How gRPC is spoken: natively, or by the reference library.")]
MetricsOption = Annotated[int, typer.Option(min=0, max=65535, help="Loopback port of the router's /metrics and /healthz; 0: any free one.")]
CollectorOption = Annotated[str, typer.Option(help="Where Envoy sends its access log: unix:PATH or HOST:PORT.")]
CertificateOption = Annotated[
    str, typer.Option("--tls-cert", metavar="FILE", help="Certificate chain (PEM) of whatever listens; read again when it changes.")
]
KeyOption = Annotated[str, typer.Option("--tls-key", metavar="FILE", help="Its key (PEM).")]
ClientsOption = Annotated[
    str, typer.Option("--tls-client-ca", metavar="FILE", help="Mutual TLS: Envoy needs a certificate signed by these authorities (PEM).")
]
OwnerOption = Annotated[str, typer.Option(metavar="USER:GROUP", help="Owner of the router's Unix sockets, such as :envoy (mode 0660).")]
PlaintextOption = Annotated[bool, typer.Option("--plaintext", help="Listen beyond loopback without mutual TLS: a mesh protects the port.")]
LogFormatOption = Annotated[
    logs.Format | None,
    typer.Option(
        envvar=contract.LOG_FORMAT_ENVIRONMENT, help="Logs for people or for programs; by default console on a terminal, else json."
    ),
]
LogLevelOption = Annotated[logs.Level, typer.Option(envvar=contract.LOG_LEVEL_ENVIRONMENT, help="The least that is logged.")]
DaysOption = Annotated[int, typer.Option("--exposures-days", min=1, max=3650, help="Days for which it is kept who met a canary.")]
MibOption = Annotated[int, typer.Option("--exposures-mib", min=16, max=1 << 20, help="MiB that this may take; the oldest goes first.")]
SamplerOption = Annotated[str, typer.Option(help="Where Envoy sends copies for the judge, if the Spec has one: unix:PATH or HOST:PORT.")]
FeedbackOption = Annotated[
    str, typer.Option("--feedback-listen", help="Where Envoy sends users' feedback, if the Spec listens to them: HOST:PORT.")
]
XdsOption = Annotated[
    str, typer.Option("--xds", help="Tell Envoys their configuration (xDS) here: unix:PATH or HOST:PORT; by default nobody is told.")
]
XdsOwnerOption = Annotated[str, typer.Option(metavar="USER:GROUP", help="Owner of the xDS Unix socket, such as :envoy (mode 0660).")]
ApiListenOption = Annotated[
    str, typer.Option("--api-listen", metavar="HOST:PORT", help="The API for other machines too, by mutual TLS; beside its loopback port.")
]
ApiClientsOption = Annotated[
    str, typer.Option("--api-client-ca", metavar="FILE", help="Authorities (PEM) of the API's clients, if not those of --tls-client-ca.")
]
AccessOption = Annotated[
    str,
    typer.Option(
        "--access", metavar="FILE", envvar=contract.ACCESS_ENVIRONMENT, help="Who may what at the API (YAML); read again when it changes."
    ),
]
NameOption = Annotated[
    str, typer.Option(help="What this controller is called among those of one etcd store; by default the host's name.", show_default=False)
]
AdvertiseOption = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Where other controllers reach this one's collector; by default where it listens.")
]
LeaseOption = Annotated[
    float, typer.Option(min=3.0, max=60.0, help="Seconds within which another controller leads, where this one is silent.")
]
ApiOption = Annotated[int, typer.Option(min=0, max=65535, help="Loopback port of the API; 0: any free one.")]


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    from extproc.cli import RUN

    for command in (serve, router, controller, collector):
        app.command(rich_help_panel=RUN)(command)


def serve(
    spec: SpecOption,
    listen: ListenOption = contract.DEFAULT_ROUTER_LISTEN,
    workers: WorkersOption = 2,
    transport: TransportOption = TransportName.NATIVE,
    store: StoreOption = contract.DEFAULT_STORE,
    collector: CollectorOption = contract.DEFAULT_COLLECTOR_LISTEN,
    sampler: SamplerOption = contract.DEFAULT_SAMPLER_LISTEN,
    feedback: FeedbackOption = contract.DEFAULT_FEEDBACK_LISTEN,
    xds: XdsOption = "",
    xds_socket_owner: XdsOwnerOption = "",
    api_port: ApiOption = contract.DEFAULT_API_PORT,
    api_listen: ApiListenOption = "",
    api_client_ca: ApiClientsOption = "",
    access: AccessOption = "",
    exposures_days: DaysOption = 30,
    exposures_mib: MibOption = 2048,
    metrics_port: MetricsOption = contract.DEFAULT_METRICS_PORT,
    tls_cert: CertificateOption = "",
    tls_key: KeyOption = "",
    tls_client_ca: ClientsOption = "",
    socket_owner: OwnerOption = "",
    plaintext: PlaintextOption = False,
    log_format: LogFormatOption = None,
    log_level: LogLevelOption = logs.Level.INFO,
) -> None:
    """Everything on one machine: controller, router and the embedded store."""
    from extproc.cli import serving

    logs.start("supervisor", log_format, log_level)
    security = Security(tls_cert, tls_key, tls_client_ca, socket_owner, plaintext)
    arguments = ["--spec", str(spec), "--store", store, "--collector", collector, "--sampler", sampler, "--api-port", str(api_port)]
    doors = {"--xds": xds, "--xds-socket-owner": xds_socket_owner, "--api-listen": api_listen}
    doors |= {"--api-client-ca": api_client_ca, "--access": access}
    arguments += ["--feedback-listen", feedback, *_open(security, doors)]
    arguments += ["--exposures-days", str(exposures_days), "--exposures-mib", str(exposures_mib)]
    serving.main(_router_settings(spec, listen, workers, transport, None, store, metrics_port, security), arguments)


def router(
    spec: SpecOption,
    listen: ListenOption = contract.DEFAULT_ROUTER_LISTEN,
    workers: WorkersOption = 2,
    transport: TransportOption = TransportName.NATIVE,
    phase: Annotated[str | None, typer.Option(help="Without a store: serve every rollout at this phase, such as 50%.")] = None,
    store: Annotated[
        str | None,
        typer.Option(help="Follow Spec and State in this store: sqlite:/var/lib/extproc/extproc.db, or etcd://HOST:2379/extproc."),
    ] = None,
    metrics_port: MetricsOption = contract.DEFAULT_METRICS_PORT,
    tls_cert: CertificateOption = "",
    tls_key: KeyOption = "",
    tls_client_ca: ClientsOption = "",
    socket_owner: OwnerOption = "",
    plaintext: PlaintextOption = False,
    log_format: LogFormatOption = None,
    log_level: LogLevelOption = logs.Level.INFO,
) -> None:
    """The data plane: decide, for every request, which model it meets."""
    from extproc.router import supervisor

    logs.start("supervisor", log_format, log_level)
    security = Security(tls_cert, tls_key, tls_client_ca, socket_owner, plaintext)
    supervisor.main(_router_settings(spec, listen, workers, transport, phase, store, metrics_port, security))


def controller(
    spec: SpecOption,
    store: StoreOption = contract.DEFAULT_STORE,
    collector: CollectorOption = contract.DEFAULT_COLLECTOR_LISTEN,
    sampler: SamplerOption = contract.DEFAULT_SAMPLER_LISTEN,
    feedback: FeedbackOption = contract.DEFAULT_FEEDBACK_LISTEN,
    xds: XdsOption = "",
    xds_socket_owner: XdsOwnerOption = "",
    api_port: ApiOption = contract.DEFAULT_API_PORT,
    api_listen: ApiListenOption = "",
    api_client_ca: ApiClientsOption = "",
    access: AccessOption = "",
    exposures_days: DaysOption = 30,
    exposures_mib: MibOption = 2048,
    name: NameOption = "",
    advertise: AdvertiseOption = "",
    lease: LeaseOption = contract.DEFAULT_LEASE,
    tls_cert: CertificateOption = "",
    tls_key: KeyOption = "",
    tls_client_ca: ClientsOption = "",
    plaintext: PlaintextOption = False,
    log_format: LogFormatOption = None,
    log_level: LogLevelOption = logs.Level.INFO,
    tied: Annotated[bool, typer.Option("--tied", hidden=True, help="End when standard input closes.")] = False,
) -> None:
    """The brain: collect outcomes, evaluate gates, decide, write State."""
    from extproc.controller.doors import Doors
    from extproc.controller.process import main
    from extproc.controller.settings import ControllerSettings
    from extproc.store.exposures.retention import DAY, MIB, Keep

    logs.start("controller", log_format, log_level)
    keep = Keep(exposures_days * DAY, exposures_mib * MIB)
    doors = Doors(Security(tls_cert, tls_key, tls_client_ca, plaintext=plaintext), api_listen, api_client_ca, access)
    listens = (collector, sampler, feedback, api_port)
    main(
        ControllerSettings(
            str(spec), store, *listens, doors, xds, xds_socket_owner, keep, tied, name or socket.gethostname(), advertise, lease
        )
    )


def _open(security: Security, doors: dict[str, str]) -> list[str]:
    """The controller's flags of what a network reaches, those that were given."""
    given = {"--tls-cert": security.certificate, "--tls-key": security.key, "--tls-client-ca": security.client_ca, **doors}
    return [word for flag, value in given.items() if value for word in (flag, value)] + ["--plaintext"] * security.plaintext


def collector(
    store: StoreOption,
    listen: CollectorOption = contract.DEFAULT_COLLECTOR_LISTEN,
    tls_cert: CertificateOption = "",
    tls_key: KeyOption = "",
    tls_client_ca: ClientsOption = "",
    plaintext: PlaintextOption = False,
    log_format: LogFormatOption = None,
    log_level: LogLevelOption = logs.Level.INFO,
) -> None:
    """Beyond one machine, beside an Envoy: keep what became of its requests until the controller that leads has it."""
    from extproc.controller.passing import PassingSettings, main

    logs.start("collector", log_format, log_level)
    main(PassingSettings(store, listen, Security(tls_cert, tls_key, tls_client_ca, plaintext=plaintext)))


def _router_settings(
    spec: Path,
    listen: str,
    workers: int,
    transport: TransportName,
    phase: str | None,
    store: str | None,
    metrics_port: int,
    security: Security,
) -> RouterSettings:
    return RouterSettings(str(spec), listen, workers, transport.value, phase, store, metrics_port=metrics_port, security=security)
