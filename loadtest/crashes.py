"""The demo's scenarios in which extproc itself is killed, frozen or cut off, as people run them. A section of `make proof`."""

from __future__ import annotations

import asyncio
from typing import Final

from rich.console import Console
from rich.progress import track

from extproc.demo.run import DemoSettings, run
from extproc.demo.scenarios import scenario_named

CONSOLE: Final = Console(highlight=False)
NAMES: Final = ("crash-router", "crash-controller", "blind")


def section() -> tuple[list[str], list[str]]:
    """Each once, with its story."""
    lines = ["`extproc demo --scenario NAME --fast`, on the real Envoy. Every answer and every request that a model served is counted."]
    problems: list[str] = []
    for name in track(NAMES, "scenarios", console=CONSOLE):
        settings = DemoSettings(scenario_named(name), fast=True)
        result = asyncio.run(run(settings, lambda *_: None, lambda _: None))
        lines += ["", f"**{name}**: {settings.scenario.sentence}.", "", result.story]
        problems += [f"{name}: {problem}" for problem in result.problems]
    return lines, problems
