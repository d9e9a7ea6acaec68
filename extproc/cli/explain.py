"""Who: explain, cohorts, sign."""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from extproc import contract
from extproc.cli.client import DEFAULT_API, Client, TokenOption, reaching
from extproc.cli.cohorts import cohorts_picture
from extproc.cli.explained import explained_picture
from extproc.cli.watch import JsonOption
from extproc.cli.write import SpecArgument
from extproc.errors import Problem, SettingsError

HeaderOption = Annotated[list[str] | None, typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="A header, as curl takes it.")]
ClaimOption = Annotated[list[str] | None, typer.Option("--claim", metavar="PATH=VALUE", help="A verified JWT claim; twice is a list.")]
PhaseOption = Annotated[list[str] | None, typer.Option("--phase", metavar="[ROLLOUT=]PHASE", help="As if rollouts were there.")]
NowOption = Annotated[str | None, typer.Option("--now", metavar="TIME", help="ISO 8601, or Unix seconds; now by default.")]


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    from extproc.cli import WHO

    for command in (reaching(explain), cohorts, sign):
        app.command(rich_help_panel=WHO)(command)


def explain(
    spec: Annotated[
        Path | None, typer.Argument(help="A Spec; without it, what the store or the controller has.", show_default=False)
    ] = None,
    header: HeaderOption = None,
    path: Annotated[str, typer.Option(help="Path of the request.")] = "",
    host: Annotated[str, typer.Option(help="Host of the request.")] = "",
    model: Annotated[str, typer.Option(help="Model that the body asks for.")] = "",
    claim: ClaimOption = None,
    provider_state: Annotated[bool, typer.Option("--provider-state", help="The body speaks of state that the provider keeps.")] = False,
    phase: PhaseOption = None,
    state: Annotated[str | None, typer.Option("--state", metavar="sqlite:PATH", help="As the State in this store has it.")] = None,
    api: Annotated[str | None, typer.Option("--api", metavar="URL", help="As the running controller has it.")] = None,
    token_file: TokenOption = None,
    now: NowOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which model a request meets, and why: cohort, unit, point, thresholds, headers, and when this user enters the canary."""
    from extproc.assign.question import Question
    from extproc.cli import standing

    question = Question(_headers(header or []), path, host, model, _claims(claim or []), provider_state)
    at = _instant(now) if now is not None else None
    given = [name for name, value in (("--phase", phase), ("--state", state), ("--api", api)) if value]
    if len(given) > 1:
        raise SettingsError(Problem("settings.two-states", " ".join(given), "say different things", "a request is explained by one State"))
    if phase and spec is None:
        raise SettingsError(Problem("settings.no-spec", "--phase", "supposes something of a Spec", "give the Spec's file"))
    if api is not None or (spec is None and state is None):
        document = _asked(Client(api or os.environ.get(contract.API_ENVIRONMENT, DEFAULT_API), token_file), spec, question, at)
    else:
        stand = standing.stored(state, spec) if state is not None else standing.supposed(spec, phase or [])
        document = stand.explain(question, time.time() if at is None else at, str(uuid.uuid4()))
    _show(document, explained_picture(document), as_json)


def _asked(client: Client, spec: Path | None, question: Any, at: float | None) -> dict[str, Any]:
    """What the running controller says."""
    from extproc import spec as spec_room
    from extproc.controller.explaining import written

    document = client.explain(written(question, at))
    if document["stale"]:
        document["notes"].append(f"the controller has not answered for {document['stale']:.0f} s; this is by what is in its store")
    if spec is not None and (digest := spec_room.read(str(spec)).digest) != document["spec_digest"]:
        document["notes"].append(f"{spec} is Spec {digest}, and not the one in force")
    return document


def _show(document: Any, picture: Any, as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        Console(highlight=False, markup=False).print(picture)


def cohorts(spec: SpecArgument, as_json: JsonOption = False) -> None:
    """Every cohort of a Spec in order: who is in it, and the expected share of each arm by phase."""
    from extproc import spec as spec_room
    from extproc.assign.expected import expected

    loaded = spec_room.read(str(spec))
    document = {"spec_digest": loaded.digest, "rollouts": [asdict(one) for one in expected(loaded)]}
    _show(document, cohorts_picture(document), as_json)


def sign(
    spec: SpecArgument,
    rollout: Annotated[str, typer.Argument(help="Name of the rollout.", show_default=False)],
    arm: Annotated[str, typer.Option(help="canary or stable.")] = "canary",
    lifetime: Annotated[str, typer.Option("--for", metavar="DURATION", help="How long it is good, such as 1h; at most 31d.")] = "1h",
) -> None:
    """A signed QA header that puts requests on an arm: curl -H "$(extproc sign SPEC ROLLOUT)" ... The secret is read here."""
    from extproc import spec as spec_room
    from extproc.cli.signing import signed

    typer.echo(signed(spec_room.read(str(spec)), rollout, arm, lifetime, time.time()))


# --------------------------------------------------------------------------------------------------------------------- questions
def _headers(written: list[str]) -> dict[str, str]:
    """`name: value` as curl takes them; several cookies become one header, of other headers the last one counts."""
    headers: dict[str, str] = {}
    for one in written:
        name, colon, value = one.partition(":")
        name, value = name.strip().lower(), value.strip()
        if not colon or not name:
            # The text itself is not repeated: it may be a credential.
            raise SettingsError(Problem("settings.header", "-H", "one of the headers has no colon", "write -H 'x-user-id: u1'"))
        headers[name] = f"{headers[name]}; {value}" if name == "cookie" and name in headers else value
    return headers


def _claims(written: list[str]) -> dict[str, tuple[str, ...]]:
    claims: dict[str, tuple[str, ...]] = {}
    for one in written:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise SettingsError(Problem("settings.claim", "--claim", "one of the claims has no =", "write --claim realm_access.roles=beta"))
        claims[name] = (*claims.get(name, ()), value)
    return claims


def _instant(written: str) -> float:
    try:
        return float(written)
    except ValueError:
        pass
    try:
        instant = datetime.fromisoformat(written)
    except ValueError as error:
        hint = "write 2026-11-27T16:00:00Z, or Unix seconds; without a zone it is UTC"
        raise SettingsError(Problem("settings.now", "--now", f"{written!r} is no instant", hint)) from error
    return (instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)).timestamp()
