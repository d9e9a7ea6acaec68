"""What scenarios change in the demo's Spec, on the document as its YAML says it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

GERMANY: Final = "germany"


def watch_latency(document: dict[str, Any]) -> None:
    """Mean and p95 of the whole answer are compared, beside errors."""
    _gates(document, "errors", "latency_mean", "latency_p95")


def watch_cost(document: dict[str, Any]) -> None:
    """Cost is compared, and a token of the canary costs what one of stable costs: else twice as many would still be cheaper."""
    _gates(document, "errors", "cost")
    for rollout in document["rollouts"].values():
        models = document["models"]
        models[rollout["canary"]]["prices"] = dict(models[rollout["stable"]]["prices"])


def germany(document: dict[str, Any]) -> None:
    """Germans are a cohort of their own, so that they can be rolled back by themselves."""
    for rollout in document["rollouts"].values():
        rollout["cohorts"] = [{"name": GERMANY, "country": ["DE"]}, {"name": "everyone"}]


def one_in_ten(document: dict[str, Any]) -> None:
    """The first phase is a tenth of the people: of few, one in a hundred would be nobody."""
    for rollout in document["rollouts"].values():
        rollout["phases"] = [{**rollout["phases"][0], "share": "10%"}, *rollout["phases"][2:]]


def _gates(document: dict[str, Any], *measures: str) -> None:
    for phase in _phases(document):
        phase["gates"] = {measure: {} for measure in measures}


def _phases(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for rollout in document["rollouts"].values():
        yield from rollout["phases"]
