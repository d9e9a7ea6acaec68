"""Says what a load test saw: JSON for machines, Markdown for people, an exit code for whoever waits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console


def write(directory: Path, name: str, results: dict[str, Any]) -> Path:
    """Write NAME.json and NAME.md; returns the Markdown's path."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.json").write_text(json.dumps(results, indent=2) + "\n")
    path = directory / f"{name}.md"
    path.write_text(markdown(name, results))
    return path


def verdict(wrong: Sequence[str], console: Console) -> int:
    """Say what was promised and not seen; the exit code."""
    for problem in wrong:
        console.print(f"[red]✘ {problem}[/red]")
    return 1 if wrong else 0


def markdown(name: str, results: dict[str, Any]) -> str:
    """The report as a page."""
    settings = results.get("settings", {})
    problems = results["problems"]
    lines = [f"# Load test {name}", "", "**Good**: no error, every split holds." if not problems else "**Not good:**", ""]
    lines += [f"* {problem}" for problem in problems]
    lines += ["| setting | value |", "| --- | --- |", *(f"| {key} | {value} |" for key, value in settings.items()), ""] if settings else []
    lines += [
        f"{results['requests']:,} requests, {sum(results['errors'].values())} errors, {results['movers']} people met both models.",
        "",
        "## Split per cohort, in distinct people",
        "",
        "| cohort | people | met the canary | share | phase | standard deviations | holds |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
        *(_split(split) for split in results["splits"]),
        "",
        "## Latency per arm, seconds",
        "",
        "| arm | requests | p50 | p95 | p99 | first token p50 | p95 | p99 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(_latency(arm, row) for arm, row in results["latency"].items()),
        "",
    ]
    return "\n".join(lines)


def _split(split: dict[str, Any]) -> str:
    expected = "-" if split["expected_share"] is None else f"{split['expected_share']:.2%}"
    deviations = "-" if split["deviations"] is None else f"{split['deviations']:.2f}"
    cohort = split["cohort"] or "(none)"
    numbers = f"{split['people']:,} | {split['canary']:,} | {split['share']:.2%} | {expected} | {deviations}"
    return f"| {cohort} | {numbers} | {'yes' if split['holds'] else 'NO'} |"


def _latency(arm: str, row: dict[str, Any]) -> str:
    names = ("p50", "p95", "p99", "first_token_p50", "first_token_p95", "first_token_p99")
    return f"| {arm} | {row['requests']:,} | " + " | ".join("-" if row[name] is None else f"{row[name]:.3f}" for name in names) + " |"
