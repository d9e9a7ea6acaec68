"""Do extproc's books agree with what the models say they served, and what does the story of a demo come to? Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from extproc import contract
from extproc.demo.crowd import Crowd
from extproc.demo.story import Act, Fault, Scenario, Withdrawal


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
    copies: int = 0
    """Copies of requests that the canary answered, in a shadow; nobody got the answers."""
    copies_failed: int = 0

    @classmethod
    def read(cls, exposition: str) -> Belief:
        """From the controller's Prometheus text."""
        requests: Counter[str] = Counter()
        failed: Counter[str] = Counter()
        tokens: Counter[str] = Counter()
        undecided: Counter[str] = Counter()
        copies: Counter[str] = Counter()
        for family in text_string_to_metric_families(exposition):
            for sample in family.samples:
                if sample.name == contract.METRIC_OUTCOMES:
                    side = "canary" if sample.labels["arm"] == "canary" else "stable"
                    requests[side] += int(sample.value)
                    failed[side] += int(sample.value) if sample.labels["result"] == "failed" else 0
                elif sample.name == contract.METRIC_TOKENS and sample.labels["type"] == "output":
                    tokens[sample.labels["model"]] += int(sample.value)
                elif sample.name == contract.METRIC_COPIES:
                    copies[sample.labels["result"]] += int(sample.value)
                elif sample.name == contract.METRIC_UNDECIDED:
                    undecided[sample.labels["result"]] += int(sample.value)
        return cls(
            canary=requests["canary"],
            canary_failed=failed["canary"],
            stable=requests["stable"] + undecided.total(),
            stable_failed=failed["stable"] + undecided["failed"],
            undecided=undecided.total(),
            output_tokens=dict(tokens),
            copies=copies.total(),
            copies_failed=copies["failed"],
        )

    @classmethod
    def together(cls, parts: Sequence[Belief]) -> Belief:
        """What several controllers counted, one after the other."""
        tokens = Counter[str]()
        for part in parts:
            tokens.update(part.output_tokens)
        return cls(
            canary=sum(part.canary for part in parts),
            canary_failed=sum(part.canary_failed for part in parts),
            stable=sum(part.stable for part in parts),
            stable_failed=sum(part.stable_failed for part in parts),
            undecided=sum(part.undecided for part in parts),
            output_tokens=dict(tokens),
            copies=sum(part.copies for part in parts),
            copies_failed=sum(part.copies_failed for part in parts),
        )


def disagreements(
    belief: Belief, stable: dict[str, Any], canary: dict[str, Any], clients: dict[str, Any], unheard: float = 0.0
) -> list[str]:
    """Every number that two parties tell differently; ledgers as demo.ledger.Ledger, clients as demo.tally.Tally.total.

    `unheard`: requests of which extproc may have heard nothing; it may never count more than the models.
    """
    pairs = [
        ("requests to the canary", belief.canary + belief.copies, canary["requests"]),
        ("failed requests of the canary", belief.canary_failed + belief.copies_failed, canary["errors"]),
        ("requests to stable", belief.stable, stable["requests"]),
        ("failed requests of stable", belief.stable_failed, stable["errors"]),
        ("output tokens of the canary", belief.output_tokens.get(canary["model"], 0), canary["output_tokens"]),
        ("output tokens of stable", belief.output_tokens.get(stable["model"], 0), stable["output_tokens"]),
    ]
    served = stable["requests"] + canary["requests"]
    lost = served - belief.canary - belief.copies - belief.stable
    bad = [pair for pair in pairs if pair[1] != pair[2]] if not lost or lost > unheard else [pair for pair in pairs if pair[1] > pair[2]]
    found = [f"{what}: extproc counted {ours:,}, the model's ledger says {theirs:,}" for what, ours, theirs in bad]
    if clients["sent"] + belief.copies != served:
        copies = f" and {belief.copies:,} were copied" if belief.copies else ""
        found.append(f"clients sent {clients['sent']:,} requests{copies}, the models received {served:,}")
    for ledger in (stable, canary):
        if ledger["foreign_headers"]:
            found.append(f"{ledger['foreign_headers']:,} requests reached {ledger['model']} with a header {contract.HEADER_PREFIX}*")
    if set(canary["asked_for"]) - {canary["model"]}:
        found.append(f"the canary was asked for {', '.join(canary['asked_for'])}: the model name was not rewritten everywhere")
    return found


def miscounted(who: Crowd, stable: Mapping[str, Any], canary: Mapping[str, Any]) -> list[str]:
    """Whether the table of who got what holds every good answer of the models."""
    counted, good = sum(row.requests for row in who.rows) + who.outside, stable["ok"] + canary["ok"]
    return [f"clients wrote down {counted:,} good answers, the models gave {good:,}"] if counted != good else []


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of the rollout, in its status."""

    status: str
    why: str = ""
    """The sentence with which it ended."""
    paged: frozenset[str] = frozenset()
    """Sentences with which somebody was called."""
    out: tuple[str, ...] = ()
    """Cohorts that were rolled back by themselves."""
    untold: tuple[str, ...] = ()
    """Turns that never came."""
    held: Mapping[str, str] = field(default_factory=dict)
    """Pattern -> the first reason of that kind for which it was held."""


def shortcomings(
    scenario: Scenario,
    seen: Seen,
    belief: Belief,
    stable: dict[str, Any],
    canary: dict[str, Any],
    clients: dict[str, Any],
    acts: Mapping[Act, float],
) -> list[str]:
    """Why the story did not end as the scenario says; empty where it did. `acts`: when each was done, Unix seconds."""
    found = [f"{turn.act} was never done" for turn in scenario.script if turn.act is not None and turn.act not in acts]
    found += [f"it never came to this: {sentence}" for sentence in seen.untold]
    if seen.status != scenario.ends:
        found.append(f"the rollout ended {seen.status.replace('_', ' ')}, not {scenario.ends.replace('_', ' ')}")
    found += [f"it ended with {seen.why!r}, and not a word of {word!r}" for word in scenario.says if word not in seen.why]
    found += [f"it was never held for a reason like {pattern!r}" for pattern in scenario.holds if pattern not in seen.held]
    wanted = (scenario.out,) if scenario.out else ()
    if seen.out != wanted:
        found.append(f"rolled back by themselves were {', '.join(seen.out) or 'nobody'}, not {', '.join(wanted) or 'nobody'}")
    if scenario.page and not any(scenario.page in sentence for sentence in seen.paged):
        found.append(f"nobody was called for an {scenario.page}")
    found += _client_problems(scenario, stable, canary, clients)
    if scenario.withdrawal is not None and not found:
        return _withdrawal_problems(scenario.withdrawal, canary, acts)
    if scenario.fault is not None:
        return found + _fault_problems(scenario, scenario.fault, canary)
    if scenario.withdrawal is None and clients["flips"] > belief.undecided:
        moved = f"{clients['flips']:,} requests of people who had met the canary were answered by stable"
        found.append(f"{moved}, and only {belief.undecided:,} had no decision")
    return found


def _client_problems(scenario: Scenario, stable: dict[str, Any], canary: dict[str, Any], clients: dict[str, Any]) -> list[str]:
    """Clients may see what the models did on purpose, and nothing else."""
    failed = sum(clients["errors"].values())
    meant = sum(ledger[what] for ledger in (stable, canary) for what in ("errors", "aborted"))
    if scenario.fault is None and not scenario.page:
        return [f"{failed:,} requests of clients failed: {clients['errors']}"] if failed else []
    if failed != meant:
        return [f"clients saw {failed:,} failures {clients['errors']}, the models failed or hung {meant:,} times"]
    return []


def _fault_problems(scenario: Scenario, fault: Fault, canary: dict[str, Any]) -> list[str]:
    took = rollback_seconds(canary, fault)
    if took is None:
        return ["the canary never failed"]
    if scenario.promise is not None and took > scenario.promise:
        return [f"the last canary request came {took:.1f} s after {fault}; promised are {scenario.promise:g} s"]
    return []


def _withdrawal_problems(withdrawal: Withdrawal, canary: dict[str, Any], acts: Mapping[Act, float]) -> list[str]:
    begin, end = canary["silence"]
    took = begin - acts[withdrawal.begins]
    if not 0 <= took <= withdrawal.within:
        return [f"the canary was not withdrawn within {withdrawal.within:g} s of {withdrawal.begins}, but after {took:.1f} s"]
    return ["the canary came back before there was reason to"] if end < acts[withdrawal.ends] else []


def rollback_seconds(canary: dict[str, Any], fault: Fault = Fault.FAILS) -> float | None:
    """Seconds from the fault to the last canary request that it concerns, by the model's own clock; None without one."""
    since = canary["since"]
    begin = since["first_error"] if fault is Fault.FAILS else since["at"]
    if not begin or since["last_request"] is None:
        return None
    return max(0.0, float(since["last_request"] - begin))


def told(
    scenario: Scenario,
    rollout: dict[str, Any],
    journal: list[dict[str, Any]],
    canary: dict[str, Any],
    clients: dict[str, Any],
    belief: Belief,
    acts: Mapping[Act, float],
    seconds: float,
) -> str:
    """What happened, in one paragraph."""
    last = journal[0]
    good = sum(clients["answered_by"].values())
    moves = sum(entry["action"] in ("start", "advance") for entry in journal)
    plural = "" if moves == 1 else "s"
    text = (
        f"In {seconds:.0f} s {clients['sent']:,} requests went through Envoy and {good:,} were answered well; "
        f"{canary['requests'] - belief.copies:,} met {rollout['canary']}{_copied(belief)}. "
        f"The rollout went through {moves} phase{plural} and is "
        f"{rollout['status'].replace('_', ' ')}: {last['why']}."
    )
    text += _fault_told(scenario, canary, clients) or _clients_told(scenario, clients, belief)
    if rollout["cohorts_out"]:
        out = next(entry for entry in journal if entry["action"] == "roll_back_cohort")
        text += f" Cohort {', '.join(rollout['cohorts_out'])} was rolled back by itself: {out['why']}."
    if Act.RESUME in acts:
        text += " Until a person resumed it, nothing moved, in either direction."
    if scenario.withdrawal is not None and scenario.withdrawal.begins in acts:
        begin, end = canary["silence"]
        text += (
            f" The canary met its last request {begin - acts[scenario.withdrawal.begins]:.1f} s after the fault, then nobody for "
            f"{end - begin:.0f} s, and was back {end - acts[scenario.withdrawal.ends]:.1f} s after the fault had ended."
        )
    if scenario.unheard:
        text += f" Of {clients['sent'] - belief.canary - belief.stable:,} requests extproc heard nothing: that is what the fault cost."
    return text


def hold(scenario: Scenario, now: str) -> dict[str, str]:
    """Pattern -> the part of what `status` says of the rollout that is such a reason."""
    parts = now.split("; ")
    found = ((pattern, next((part for part in parts if re.search(pattern, part)), None)) for pattern in scenario.holds)
    return {pattern: part for pattern, part in found if part is not None}


def held(reasons: Mapping[str, str]) -> str:
    """For what it was held on the way, as the end of a story."""
    return "".join(f" On the way it was held: {reason}." for reason in reasons.values())


def _copied(belief: Belief) -> str:
    return f", and of {belief.copies:,} a copy did, which nobody noticed" if belief.copies else ""


def _fault_told(scenario: Scenario, canary: dict[str, Any], clients: dict[str, Any]) -> str:
    if scenario.fault is None:
        return ""
    took, since = rollback_seconds(canary, scenario.fault), canary["since"]
    if took is None:
        return ""
    concerned = f" of those from {scenario.out.title()}" if scenario.out else ""
    if scenario.fault is Fault.FAILS:
        cost = f"{since['errors']:,} requests failed"
        return f" From the first failing response of the canary to its last request{concerned} {took:.1f} s passed, in which {cost}."
    failed = sum(clients["errors"].values())
    cost = f"{since['requests']:,} requests met it so" + (f", and {failed:,} of them never got an answer" if failed else "")
    return f" From the change of the canary to its last request {took:.1f} s passed, in which {cost}."


def _clients_told(scenario: Scenario, clients: dict[str, Any], belief: Belief) -> str:
    failed = sum(clients["errors"].values())
    if failed:
        return f" {failed:,} requests failed, of both models alike, and nobody was moved because of it."
    if belief.undecided:
        return f" No client saw an error; {belief.undecided:,} requests got no decision in time, and stable answered."
    return " No client saw an error" + ("." if scenario.withdrawal is not None else ", and nobody was moved back.")
