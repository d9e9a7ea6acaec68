"""Simulated releases on every core, with a progress bar; the same seed gives the same table, however many cores there are."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from random import Random
from typing import Any, Final, TypeVar

from rich.console import Console
from rich.progress import track

from extproc.domain import Rollout, Spec
from extproc.release.simulate import TABLE, Proof, Row, Run, Setting, World, prove, simulate
from extproc.release.simulate.plain import Judge, Stops

PATHS: Final = 40
"""Releases whose path is drawn."""
Job = TypeVar("Job")
Made = TypeVar("Made")


def setting(spec: Spec, rollout: Rollout, phase: int, rate: float, requests: int) -> Setting:
    """One of a Spec: so many requests at one phase, by the prices and the deadline of the Spec."""
    prices = {model.name: model.prices for model in spec.models.values() if model.prices is not None}
    return Setting(rollout, spec.application.sla.latency_p99, prices, phase, rate, requests / rate)


def releases(given: Setting, world: World, runs: int, seed: int, console: Console) -> list[Run]:
    """In the full design; the first PATHS of them keep their path."""
    return _each(partial(_release, given, world, seed), range(runs), f"{world.name}: {world.sentence}", console)


def _release(given: Setting, world: World, seed: int, number: int) -> Run:
    return simulate(given, world, Random(f"{seed}/{world.name}/{number}"), keep_path=number < PATHS)


def plain(name: str, runs: int, seed: int, console: Console) -> list[Stops]:
    """In the plain form, of a row of the published table."""
    return _each(partial(_plain, name, seed), range(runs), name, console)


def _plain(name: str, seed: int, number: int) -> Stops:
    return TABLE[name](Random(f"{seed}/{name}/{number}"))


def judged(requests: int, runs: int, seed: int, console: Console) -> list[Stops]:
    """Scores of a judge, .80 of stable and .77 of the canary: in the plain form, for a score is no part of an outcome."""
    return _each(partial(_judged, requests, seed), range(runs), "judge: the canary scores .77, stable .80", console)


def _judged(requests: int, seed: int, number: int) -> Stops:
    return Judge(0.80, 0.77, requests)(Random(f"{seed}/judge/{number}"))


def proofs(settings: Sequence[Setting], seed: int, console: Console) -> list[tuple[Proof, ...]]:
    """Each gate and each ceiling of the phases that these stay in, against a canary that is bad in its way."""
    return _each(partial(_proved, seed), settings, "bad canaries", console)


def _proved(seed: int, given: Setting) -> tuple[Proof, ...]:
    return prove(given, lambda number: Random(f"{seed}/{given.phase}/{number}"))


def _each(work: Callable[[Job], Made], jobs: Sequence[Job], told: str, console: Console) -> list[Made]:
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        made = pool.map(work, jobs, chunksize=max(1, min(8, len(jobs) // 16)))
        return list(track(made, told, total=len(jobs), console=console, transient=True))


def document(table: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows as plain data."""
    return [asdict(row) for row in table]
