"""The demo's scenarios as people run them: those in which extproc itself is killed, frozen or cut off, and those in which the canary is
worse in one way. Two sections of `make proof`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.progress import track

from extproc.demo.run import DemoSettings, run
from extproc.demo.scenarios import scenario_named

CONSOLE: Final = Console(highlight=False)
NAMES: Final = ("crash-router", "crash-controller", "blind")
FAULTS: Final = ("errors", "slow", "costly", "hang", "one-country", "incident", "late-fault", "low-traffic")
ANSWERS: Final = (
    "shadow",
    "worse-in-shadow",
    "good-answers",
    "worse-answers",
    "judge-away",
    "refusals",
    "thumbs-down",
    "retries",
    "regenerates",
    "short-sessions",
)


def faults() -> tuple[list[str], list[str]]:
    """What models and traffic can do, each once, with its story."""
    return section(FAULTS)


def answers() -> tuple[list[str], list[str]]:
    """Answers that are worse, and who finds out."""
    return section(ANSWERS)


def section(names: Sequence[str] = NAMES) -> tuple[list[str], list[str]]:
    """Each once, with its story."""
    lines = ["`extproc demo --scenario NAME --fast`, on the real Envoy. Every answer and every request that a model served is counted."]
    problems: list[str] = []
    for name in track(names, "scenarios", console=CONSOLE):
        settings = DemoSettings(scenario_named(name), fast=True)
        result = asyncio.run(run(settings, lambda *_: None, lambda _: None))
        lines += ["", f"**{name}**: {settings.scenario.sentence}.", "", result.story]
        problems += [f"{name}: {problem}" for problem in result.problems]
    return lines, problems
