"""Plan: judge. The canary's answers to a golden set, before any traffic meets it; made for pipelines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console

from extproc.cli.write import SpecArgument
from extproc.errors import ExtprocError, Problem

PASSED: Final = 0
FAILED: Final = 1
USAGE: Final = 2
UNDECIDED: Final = 3
STOPPED: Final = 4
DONE: Final = "done"
CUT_SHORT: Final = ("budget", "stopped")
"""Words of judge.trial.Ended, which is imported by the command alone."""
CODES: Final = (
    "Exit codes: 0 pass; 1 fail; 2 a mistake in the Spec, the prompts or the options; 3 inconclusive or no data; 4 stopped, by the budget "
    "or by a signal: run the same command again to go on."
)


class Against(StrEnum):
    """Whom the canary is compared with."""

    STABLE = "stable"


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    from extproc.cli import PLAN

    app.command(rich_help_panel=PLAN, epilog=CODES)(judge)


def judge(
    spec: SpecArgument,
    rollout: Annotated[str | None, typer.Option("--rollout", metavar="NAME", help="Which one, where the Spec has several.")] = None,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", metavar="FILE", help="JSON lines; by default the shipped set of application.type.")
    ] = None,
    against: Annotated[
        Against | None, typer.Option("--against", help="Ask stable too and compare; without it the canary alone meets --floor.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="Results and reports; ./judge-ROLLOUT by default.", show_default=False)
    ] = None,
    max_usd: Annotated[float, typer.Option("--max-usd", min=0.0, help="What all runs of DIR may cost together.")] = 5.0,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, max=64, help="Prompts under way at once.")] = 4,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws the order of prompts.")] = 1,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only so many prompts, drawn by the seed.")] = None,
    floor: Annotated[float, typer.Option("--floor", min=0.01, max=0.99, help="Mean score to reach, without --against.")] = 0.6,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0.1, help="Seconds for one answer; 3 times sla.latency_p99 by default.")
    ] = None,
    allow_inconclusive: Annotated[
        bool, typer.Option("--allow-inconclusive", help="End with 0 where there is no evidence either way.")
    ] = False,
    keep_texts: Annotated[bool, typer.Option("--keep-texts", help="Do not redact what is judged, kept and reported.")] = False,
) -> None:
    """Put a golden set to the canary, have the answers judged by the Spec's judge, and say pass or fail before any traffic."""
    try:
        from extproc.cli.judge_run import Asked, run

        asked = Asked(spec, rollout, prompts, against is not None, out, max_usd, concurrency, seed, limit, floor, timeout, keep_texts)
        ended, verdict = run(asked)
    except ExtprocError as error:
        _refuse(error.problems)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("extproc"):
            raise
        _refuse([Problem("judge.extra", "extproc", f"{error.name} is not installed", "in the checkout of extproc: pip install '.[judge]'")])
    decided = {"pass": PASSED, "fail": FAILED, "inconclusive": PASSED if allow_inconclusive and ended == DONE else UNDECIDED}
    raise typer.Exit(STOPPED if ended in CUT_SHORT else decided.get(verdict, UNDECIDED))


def _refuse(problems: Sequence[Problem]) -> NoReturn:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    for problem in problems:
        console.print(str(problem), markup=False)
    sys.exit(USAGE)
