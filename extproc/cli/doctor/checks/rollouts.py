"""Rollouts: does Envoy's own default, and its own switch, agree with State?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from extproc import contract
from extproc.cli.doctor.findings import Finding, Topic
from extproc.cli.doctor.seen import ControllerSeen, Document, EnvoySeen, Seen

TOPIC = Topic("Rollouts")


def rollouts(seen: Seen) -> Iterator[Finding]:
    """Each rollout of the controller."""
    if not isinstance(seen.controller, ControllerSeen):
        return
    for name, rollout in seen.controller.status["rollouts"].items():
        if rollout["page"]:
            yield TOPIC.wrong(
                "rollout.page", f"{name}: {rollout['now']}", rollout["advice"] or f"decide: extproc resume or rollback {name}"
            )
        if isinstance(seen.envoy, EnvoySeen):
            yield _with_envoy(name, rollout, seen.envoy)
        else:
            yield TOPIC.note("rollout.status", f"{name} is {_words(rollout['status'])}; Envoy's switches were not seen")


def _with_envoy(name: str, rollout: Document, envoy: EnvoySeen) -> Finding:
    canary = _runtime(envoy, contract.RUNTIME_CANARY.format(rollout=name), 100.0)
    completed = _runtime(envoy, contract.RUNTIME_COMPLETED.format(rollout=name), 0.0)
    status, modify = rollout["status"], f"curl -X POST '{envoy.address}/runtime_modify?"
    if status == "completed" and completed < 100.0:
        said = f"{name} is completed, and Envoy's own default is still {rollout['stable']}: that must keep its full capacity"
        key = contract.RUNTIME_COMPLETED.format(rollout=name)
        return TOPIC.wrong("rollout.default", said, f"{modify}{key}=100', then make the canary the Spec's stable model and render again")
    if status != "completed" and completed > 0.0:
        said = f"{name} is {_words(status)}, and Envoy sends {completed:g} % of the undecided requests to {rollout['canary']}"
        return TOPIC.wrong("rollout.default", said, f"{modify}{contract.RUNTIME_COMPLETED.format(rollout=name)}=0'")
    if status not in ("rolled_back", "pending") and canary < 100.0:
        said = f"{name} is {_words(status)}, and Envoy's own switch lets {canary:g} % of the decided requests reach {rollout['canary']}"
        do = f"roll back here too (extproc rollback {name}), or {modify}{contract.RUNTIME_CANARY.format(rollout=name)}=100'"
        return TOPIC.wrong("rollout.switch", said, do)
    return TOPIC.well("rollout.status", f"{name} is {_words(status)}, and Envoy's switches agree")


def _runtime(envoy: EnvoySeen, key: str, default: float) -> float:
    entry: Any = envoy.runtime.get("entries", {}).get(key)
    try:
        return float(entry["final_value"]) if entry else default
    except (KeyError, ValueError):
        return default


def _words(status: str) -> str:
    return status.replace("_", " ")
