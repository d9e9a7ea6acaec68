"""The blocks that costs are computed from: what is written arrives, what is not has its default, what contradicts itself is refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import yaml

from extproc import spec
from extproc.domain import Serving, Spec, Tokens
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


def scaled(serving: Any, **block: Any) -> Spec:
    """The example, its canary served by ourselves and scaled."""
    values = with_model(endpoint={"host": "mini.chat.svc.cluster.local", "port": 8000}, credential=None, serving=serving)
    values["deploy"] = {"image": "registry.acme.test/extproc:0.1.0", "domain": "chat.acme.test"}
    values["deploy"]["models"] = {"gpt-5-mini": {"blue": {"image": "vllm/vllm-openai:v0.11.0"}, "most_replicas": 4} | block}
    return load(values)


def test_a_model_is_scaled_by_what_its_load_test_said() -> None:
    """So many requests as its places and its utilization give; what is written counts; 32 where nothing was measured."""
    measured = {"gpu_hour": "$2.50", "concurrency": 100, "tokens_per_second": 1500, "utilization": "29%"}

    def bears(serving: Any, **block: Any) -> int:
        deploy = scaled(serving, **block).deploy
        assert deploy is not None
        return deploy.models["gpt-5-mini"].requests_per_replica

    assert bears(measured) == 29
    assert bears(measured | {"concurrency": 1}) == 1
    assert bears(measured, requests_per_replica=20) == 20
    assert bears(None) == 32


def test_scaling_later_than_the_load_test_said_is_told() -> None:
    """A replica that is busier than it may be before another one comes; with more than it has places for, `check` refuses."""
    measured = {"gpu_hour": "$2.50", "concurrency": 100, "tokens_per_second": 1500}

    def late(asked: int) -> list[str]:
        found = spec.blind_spots(scaled(measured, requests_per_replica=asked))
        return [str(spot) for spot in found if spot.id == "blind.late-scaling"]

    assert late(70) == []
    assert late(71) == [
        "deploy.models.gpt-5-mini.requests_per_replica: one more replica is wanted from 71 requests under way, and one bears 70: "
        "70% of 100 at once [blind.late-scaling]\n    leave requests_per_replica out, or say a higher utilization in serving"
    ]


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
