"""The blocks that costs are computed from: what is written arrives, what is not has its default, what contradicts itself is refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import yaml

from extproc.domain import Serving, Tokens
from tests.unit.test_spec import example, faults_of, load


def with_model(**block: Any) -> Any:
    """The example, its canary with these keys too."""
    values = example()
    values["models"]["gpt-5-mini"] |= block
    return values


def test_gpus_of_ones_own_arrive_with_their_defaults() -> None:
    """One GPU, one spare replica, 70 % of the places, as many replicas as it takes; money is Decimal."""
    found = load(with_model(serving={"gpu_hour": "$2.50", "concurrency": 32, "tokens_per_second": 1500}))
    assert found.models["gpt-5-mini"].serving == Serving(Decimal("2.50"), 32, 1500.0, 1, None, 1, 0.7)
    assert found.models["gpt-4o"].serving is None


def test_everything_that_is_written_of_gpus_arrives() -> None:
    """No default hides a value."""
    block = {"gpu_hour": "$3", "gpus_per_replica": 8, "replicas": 6, "concurrency": 64, "tokens_per_second": 4000.5, "spare": 2}
    found = load(with_model(serving=block | {"utilization": "55%"}))
    assert found.models["gpt-5-mini"].serving == Serving(Decimal(3), 64, 4000.5, 8, 6, 2, 0.55)


def test_tokens_are_said_of_the_application_and_of_a_model() -> None:
    """Each by itself; the peak is three times the mean unless it is written."""
    values = with_model(tokens={"output": 900, "reasoning": 600})
    assert (load(values).application.peak, load(values).application.tokens) == (3.0, Tokens())
    values["application"] |= {"peak": 2, "tokens": {"input": 2000, "cached_share": "40%", "uncertainty": "10%"}}
    found = load(values)
    assert (found.application.peak, found.application.tokens) == (2.0, Tokens(2000, 0.4, None, None, 0.1))
    assert found.models["gpt-5-mini"].tokens == Tokens(output=900, reasoning=600)


def test_reasoning_is_a_part_of_the_output() -> None:
    """More of it than of the whole is a slip, and is told with both numbers."""
    values = example()
    values["application"]["tokens"] = {"output": 100, "reasoning": 101}
    (problem,) = faults_of(yaml.safe_dump(values, sort_keys=False))
    assert (problem.id, problem.path) == ("spec.value", "application.tokens")
    assert "101" in problem.message
    assert "100" in problem.message
