"""Watch: `extproc doctor`. Gathers what can be seen, examines it, tells it with a next step for whatever is wrong."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console

from extproc import contract
from extproc.cli.client import DEFAULT_API, ApiOption, TokenOption
from extproc.render.settings import CA_BUNDLE

SpecOption = Annotated[Path | None, typer.Option("--spec", help="The Spec's file; by default the one that the controller names.")]
AdminOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="Envoy's admin interface; by default the Spec's admin port (9901) on loopback. Empty: Envoy is elsewhere."
    ),
]
ListenOption = Annotated[str, typer.Option(help="The router's --listen.")]
WorkersOption = Annotated[int, typer.Option(min=1, max=256, help="The router's --workers.")]
CollectorOption = Annotated[str, typer.Option(help="The controller's --collector.")]
SamplerOption = Annotated[str, typer.Option(help="The controller's --sampler.")]
StoreOption = Annotated[str, typer.Option(help="The controller's --store.")]
MetricsOption = Annotated[int, typer.Option(min=1, max=65535, help="The router's --metrics-port.")]
BundleOption = Annotated[str, typer.Option(help="The --ca-bundle with which Envoy's configuration was rendered.")]
SampleOption = Annotated[float, typer.Option(min=0.1, max=60.0, help="Seconds between two looks at counters.")]


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    from extproc.cli import WATCH

    app.command(rich_help_panel=WATCH)(doctor)


def doctor(
    spec: SpecOption = None,
    envoy_admin: AdminOption = None,
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
    listen: ListenOption = contract.DEFAULT_ROUTER_LISTEN,
    workers: WorkersOption = 2,
    collector: CollectorOption = contract.DEFAULT_COLLECTOR_LISTEN,
    store: StoreOption = contract.DEFAULT_STORE,
    metrics_port: MetricsOption = contract.DEFAULT_METRICS_PORT,
    ca_bundle: BundleOption = CA_BUNDLE,
    sampler: SamplerOption = contract.DEFAULT_SAMPLER_LISTEN,
    sample: SampleOption = 3.0,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Look at everything: Envoy, its configuration, sockets, access log, clocks, store, watch path. Exit code 1 if something is wrong."""
    from extproc.cli.doctor.checks import examine
    from extproc.cli.doctor.findings import Mark
    from extproc.cli.doctor.gather import gather
    from extproc.cli.doctor.picture import picture
    from extproc.cli.doctor.seen import Asked

    asked = Asked(spec, envoy_admin, api, token_file, listen, workers, collector, store, metrics_port, ca_bundle, sample, sampler)
    findings = examine(gather(asked))
    well = not any(one.mark is Mark.WRONG for one in findings)
    if as_json:
        document = {"well": well, "findings": [asdict(one) for one in findings]}
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        Console(highlight=False, soft_wrap=False).print(picture(findings))
    raise typer.Exit(0 if well else 1)
