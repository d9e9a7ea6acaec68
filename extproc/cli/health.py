"""Watch: `extproc health`, for containers and scripts."""

from __future__ import annotations

from typing import Annotated

import typer

from extproc import contract
from extproc.errors import Problem, SettingsError

DEFAULT_URLS = tuple(f"http://127.0.0.1:{port}/healthz" for port in (contract.DEFAULT_METRICS_PORT, contract.DEFAULT_API_PORT))


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    from extproc.cli import WATCH

    app.command(rich_help_panel=WATCH)(health)


def health(
    url: Annotated[list[str] | None, typer.Option(help="Address to ask, repeatable; by default a router's and a controller's.")] = None,
) -> None:
    """Exit 0 if every role that runs here is well; for a container's health check."""
    import httpx

    problems: list[Problem] = []
    answered = 0
    for one in url or DEFAULT_URLS:
        try:
            answer = httpx.get(one, timeout=2.0)
        except httpx.ConnectError as error:
            if url:
                problems.append(Problem("health.unreachable", one, str(error), "is the process running?"))
            continue
        except httpx.HTTPError as error:
            problems.append(
                Problem("health.silent", one, str(error) or type(error).__name__, "it listens and does not answer: look at its log")
            )
            continue
        answered += 1
        typer.echo(f"{one}: {answer.text.strip()}")
        if answer.status_code != 200:
            problems.append(Problem("health.unwell", one, answer.text.strip(), "look at its log"))
    if not answered and not problems:
        problems.append(
            Problem("health.nobody", ", ".join(url or DEFAULT_URLS), "nothing answers", "start `extproc router` or `extproc serve`")
        )
    if problems:
        raise SettingsError(problems)
