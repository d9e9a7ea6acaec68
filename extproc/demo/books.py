"""Do extproc's books agree with what the models say they served, and what does the story of a demo come to? Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from extproc import contract
from extproc.demo.scenarios import Scenario


@dataclass(frozen=True, slots=True)
class Belief:
    """What extproc counted, from its own /metrics."""

    canary: int
    """Requests assigned to the canary that ended."""
    canary_failed: int
    stable: int
    """Requests assigned to stable (control and rest) that ended, and those that Envoy answered without a decision."""
    stable_failed: int
    undecided: int
    """How many of them had no decision: on a busy machine some come too late, and Envoy serves stable."""
    output_tokens: Mapping[str, int]
    """By the model that answered."""

    @classmethod
    def read(cls, exposition: str) -> Belief:
        """From the controller's Prometheus text."""
        requests: Counter[str] = Counter()
        failed: Counter[str] = Counter()
        tokens: Counter[str] = Counter()
        undecided: Counter[str] = Counter()
        for family in text_string_to_metric_families(exposition):
            for sample in family.samples:
                if sample.name == contract.METRIC_OUTCOMES:
                    side = "canary" if sample.labels["arm"] == "canary" else "stable"
                    requests[side] += int(sample.value)
                    failed[side] += int(sample.value) if sample.labels["result"] == "failed" else 0
                elif sample.name == contract.METRIC_TOKENS and sample.labels["type"] == "output":
                    tokens[sample.labels["model"]] += int(sample.value)
                elif sample.name == contract.METRIC_UNDECIDED:
                    undecided[sample.labels["result"]] += int(sample.value)
        return cls(
            canary=requests["canary"],
            canary_failed=failed["canary"],
            stable=requests["stable"] + undecided.total(),
            stable_failed=failed["stable"] + undecided["failed"],
            undecided=undecided.total(),
            output_tokens=dict(tokens),
        )


def disagreements(belief: Belief, stable: dict[str, Any], canary: dict[str, Any], clients: dict[str, Any]) -> list[str]:
    """Every number that two parties tell differently; ledgers as demo.ledger.Ledger, clients as demo.tally.Tally.total."""
    pairs = [
        ("requests to the canary", belief.canary, canary["requests"]),
        ("failed requests of the canary", belief.canary_failed, canary["errors"]),
        ("requests to stable", belief.stable, stable["requests"]),
        ("failed requests of stable", belief.stable_failed, stable["errors"]),
        ("output tokens of the canary", belief.output_tokens.get(canary["model"], 0), canary["output_tokens"]),
        ("output tokens of stable", belief.output_tokens.get(stable["model"], 0), stable["output_tokens"]),
    ]
    found = [f"{what}: extproc counted {ours:,}, the model's ledger says {theirs:,}" for what, ours, theirs in pairs if ours != theirs]
    served = stable["requests"] + canary["requests"]
    if clients["sent"] != served:
        found.append(f"clients sent {clients['sent']:,} requests, the models received {served:,}")
    for ledger in (stable, canary):
        if ledger["foreign_headers"]:
            found.append(f"{ledger['foreign_headers']:,} requests reached {ledger['model']} with a header {contract.HEADER_PREFIX}*")
    if set(canary["asked_for"]) - {canary["model"]}:
        found.append(f"the canary was asked for {', '.join(canary['asked_for'])}: the model name was not rewritten everywhere")
    return found


def shortcomings(scenario: Scenario, status: str, belief: Belief, canary: dict[str, Any], clients: dict[str, Any]) -> list[str]:
    """Why the story did not end as the scenario says; empty where it did."""
    found = []
    if status != scenario.ends:
        found.append(f"the rollout ended {status.replace('_', ' ')}, not {scenario.ends.replace('_', ' ')}")
    failed = sum(clients["errors"].values())
    if scenario.promise is None:
        if failed:
            found.append(f"{failed:,} requests of clients failed: {clients['errors']}")
        if clients["flips"] > belief.undecided:
            moved = f"{clients['flips']:,} requests of people who had met the canary were answered by stable"
            found.append(f"{moved}, and only {belief.undecided:,} had no decision")
        return found
    took = rollback_seconds(canary)
    if took is None:
        found.append("the canary never failed")
    elif took > scenario.promise:
        found.append(f"the last canary request came {took:.1f} s after the first failing response; promised are {scenario.promise:g} s")
    if failed != canary["errors"]:
        found.append(f"clients saw {failed:,} failures, the canary failed {canary['errors']:,} times")
    return found


def rollback_seconds(canary: dict[str, Any]) -> float | None:
    """Seconds from the first failing canary response to the last canary request, by the model's own clock; None without a failure."""
    since = canary["since"]
    if since["first_error"] is None or since["last_request"] is None:
        return None
    return max(0.0, float(since["last_request"] - since["first_error"]))


def told(
    scenario: Scenario,
    rollout: dict[str, Any],
    journal: list[dict[str, Any]],
    canary: dict[str, Any],
    clients: dict[str, Any],
    undecided: int,
    seconds: float,
) -> str:
    """What happened, in one paragraph."""
    last = journal[0]
    good = sum(clients["answered_by"].values())
    moves = sum(entry["action"] in ("start", "advance") for entry in journal)
    text = (
        f"In {seconds:.0f} s {clients['sent']:,} requests went through Envoy and {good:,} were answered well; "
        f"{canary['requests']:,} met {rollout['canary']}. The rollout went through {moves} phases and is "
        f"{rollout['status'].replace('_', ' ')}: {last['why']}."
    )
    took = rollback_seconds(canary)
    if scenario.promise is not None and took is not None:
        text += (
            f" From the first failing response of the canary to its last request {took:.1f} s passed, in which "
            f"{canary['since']['errors']:,} requests failed."
        )
    elif not sum(clients["errors"].values()):
        text += " No client saw an error"
        text += f"; {undecided:,} decisions came too late, and stable answered." if undecided else ", and nobody was moved back."
    return text
