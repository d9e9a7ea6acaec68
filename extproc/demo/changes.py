"""What scenarios change in the demo's Spec, on the document as its YAML says it. Pure."""

from __future__ import annotations

from typing import Any, Final

GERMANY: Final = "germany"


def watch_p95(document: dict[str, Any]) -> None:
    """The p95 of the whole answer is compared too: of a canary that becomes slow it tells sooner than the mean."""
    for rollout in document["rollouts"].values():
        for phase in rollout["phases"]:
            if "gates" in phase:
                phase["gates"] = {**phase["gates"], "latency_p95": {}}


def by_hand(document: dict[str, Any]) -> None:
    """A person starts the rollout and moves it on: no dwell is over while somebody measures."""
    for rollout in document["rollouts"].values():
        rollout["start"] = "manual"
        for phase in rollout["phases"]:
            phase["min_dwell"], phase["max_dwell"] = "2h", "4h"


def same_prices(document: dict[str, Any]) -> None:
    """A token of the canary costs what one of stable costs: else twice as many would still be cheaper."""
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


def compared(document: dict[str, Any], *measures: str) -> None:
    """These are compared too, in larger phases."""
    one_in_ten(document)
    for rollout in document["rollouts"].values():
        for phase in rollout["phases"]:
            if "gates" in phase:
                phase["gates"] |= {measure: {} for measure in measures}


def retries(document: dict[str, Any]) -> None:
    """Asking again is compared."""
    compared(document, "retries")


def regenerates(document: dict[str, Any]) -> None:
    """Asking again what was answered well is compared, and asking again as such is not."""
    compared(document, "regenerates")


def sessions(document: dict[str, Any]) -> None:
    """How long sessions are is compared; a demo's are short."""
    document["sessions"] = {"header": "x-session-id", "lasts": "8s"}
    compared(document, "session_length")


def thumbs(document: dict[str, Any]) -> None:
    """What users say is compared; a demo's users make up their minds soon."""
    document["feedback"] = {"window": "8s", "tokens": True, "allow_request_ids_from_browsers": True}
    compared(document, "thumbs")


def ruled(document: dict[str, Any]) -> None:
    """Rules alone look at sampled answers: there is no judge, and nothing to pay for one."""
    judged(document)
    document["judge"]["judges"] = []
    for rollout in document["rollouts"].values():
        for phase in rollout["phases"]:
            phase.get("gates", {}).pop("judge", None)


def judged(document: dict[str, Any]) -> None:
    """A fifth of the answers are judged, and the gates ask for it. Phases are larger: of few people, hardly anybody would be judged."""
    document["judge"] = {
        "judges": [{"url": "http://127.0.0.1:1/v1", "model": "simulated-judge", "prices": {"input": "$0.10", "output": "$0.40"}}],
        "sample": "20%",
        "within": "8s",
    }
    one_in_ten(document)
    for rollout in document["rollouts"].values():
        for phase in rollout["phases"]:
            if "gates" in phase:
                phase["gates"] = {**phase["gates"], "judge": {"margin": "10%"}, "tripwires": {}}


def shadowed(document: dict[str, Any]) -> None:
    """Before anybody meets the canary, requests of some people are copied to it, and a judge compares the answers."""
    judged(document)
    for rollout in document["rollouts"].values():
        rollout["shadow"] = {"share": "5%", "min_dwell": "8s", "max_dwell": "4m", "min_pairs": 150, "min_judged": 120, "per_release": "$5"}
