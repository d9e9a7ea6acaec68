"""How far an offline run is, while it runs: a bar on a terminal, a plain line now and then in a pipeline's log."""

from __future__ import annotations

import asyncio
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from extproc.judge.trial import Trial

PICTURE_EVERY: Final = 0.25
LINE_EVERY: Final = 5.0
"""Seconds: often enough for CI not to call it dead, seldom enough for people to read the log."""


async def shown(trial: Trial, max_usd: float, console: Console) -> None:
    """Until cancelled; the last state is shown at the end."""
    if not console.is_terminal:
        try:
            while True:
                await asyncio.sleep(LINE_EVERY)
                console.print(_line(trial, max_usd), markup=False)
        finally:
            console.print(_line(trial, max_usd), markup=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[said]}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        asked = progress.add_task("asked", total=trial.progress.answers, said="")
        judged = progress.add_task("judged", total=trial.progress.answers, said="")
        try:
            while True:
                _update(progress, trial, max_usd, asked, judged)
                await asyncio.sleep(PICTURE_EVERY)
        finally:
            _update(progress, trial, max_usd, asked, judged)


def _update(progress: Progress, trial: Trial, max_usd: float, asked: TaskID, judged: TaskID) -> None:
    now = trial.progress
    progress.update(asked, completed=now.asked, said=f"{now.failed} failed")
    progress.update(judged, completed=now.judged, said=f"${now.usd:,.4f} of ${max_usd:,.2f}")


def _line(trial: Trial, max_usd: float) -> str:
    now = trial.progress
    return (
        f"asked {now.asked} of {now.answers}, judged {now.judged}, failed {now.failed}, ${now.usd:,.4f} of ${max_usd:,.2f} "
        f"({now.questions} prompts)"
    )
