"""The command `extproc`: write, plan, run, who, watch, act."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from extproc import logs
from extproc.errors import ExtprocError

WRITE = "Write: make and check files"
PLAN = "Plan: what a release can know, before it begins"
RUN = "Run: start processes"
WHO = "Who: which model a request meets, and why"
WATCH = "Watch: see what is going on"
ACT = "Act: move a rollout, or stop it"

app = typer.Typer(
    name="extproc",
    help="Canary releases for LLM applications, decided in microseconds at the Envoy edge.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Entry point: a refused input prints its Problems and exits 1; nothing prints a traceback on purpose-made errors."""
    from extproc.cli import (
        act,
        backup,
        cost,
        demo,
        doctor,
        explain,
        exposures,
        folder,
        health,
        judge,
        plan,
        postmortem,
        processor,
        render,
        run,
        samples,
        token,
        wait,
        watch,
        write,
    )

    rooms = (
        write,
        plan,
        cost,
        folder,
        judge,
        render,
        run,
        token,
        backup,
        demo,
        explain,
        exposures,
        samples,
        watch,
        wait,
        postmortem,
        health,
        doctor,
        act,
        processor,
    )
    for room in rooms:
        room.register(app)
    try:
        app()
    except ExtprocError as error:
        if logs.refused(error):
            sys.exit(1)
        console = Console(stderr=True, soft_wrap=True, highlight=False)
        for problem in error.problems:
            console.print(str(problem), markup=False)
        sys.exit(1)
