"""Scenarios about answers: how good they are, who finds out that they are not, and what becomes of a release whose judge is away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from extproc.demo.changes import judged, regenerates, retries, ruled, sessions, shadowed, thumbs
from extproc.demo.readers import Reacts
from extproc.demo.story import BREAKING_PHASE, Fault, Scenario, Turn
from extproc.domain import Status

GOOD_ANSWERS: Final[Mapping[str, float | str]] = MappingProxyType({"quality": 0.85})
JUDGED_RATE: Final = 200.0
"""Requests per second where answers are judged: of half of them a fifth, which a simulated judge on two cores can read."""
SESSION_RATE: Final = 40.0
"""Sessions that begin in a second, where people stay: each makes about five requests."""
GLIB: Final = Turn(
    BREAKING_PHASE,
    4.0,
    "the canary becomes glib: the same words as fast, and half the substance",
    arm="canary",
    knobs={"quality": 0.45},
    breaks=True,
)


def _glib(name: str, people: str, change: Callable[[dict[str, Any]], None], reacts: Reacts, says: tuple[str, ...], **more: Any) -> Scenario:
    """What `people` do tells that answers are worse, and nothing else does."""
    return Scenario(
        name=name,
        sentence=f"the canary answers worse, in time and without an error; {people}, and it is rolled back for that",
        script=(GLIB,),
        ends=Status.ROLLED_BACK,
        fault=Fault.WORSE,
        promise=90.0,
        change=change,
        knobs=GOOD_ANSWERS,
        reacts=reacts,
        says=says,
        **more,
    )


ABOUT_ANSWERS: Final = (
    Scenario(
        name="good-answers",
        sentence="a judge reads a fifth of the answers, finds those of the canary as good, and it ends as the default",
        script=(),
        ends=Status.COMPLETED,
        change=judged,
        knobs=GOOD_ANSWERS,
        rate=JUDGED_RATE,
    ),
    Scenario(
        name="worse-answers",
        sentence="the canary answers faster, cheaper and worse: no error, no wait; the judge alone rolls it back",
        script=(
            Turn(
                BREAKING_PHASE,
                4.0,
                "the canary becomes glib: faster and shorter answers, with half the substance",
                arm="canary",
                knobs={"ttft": 0.04, "output_tokens": 45.0, "quality": 0.45},
                breaks=True,
            ),
        ),
        ends=Status.ROLLED_BACK,
        fault=Fault.WORSE,
        promise=90.0,
        change=judged,
        knobs=GOOD_ANSWERS,
        rate=JUDGED_RATE,
        says=("judge: canary 0.",),
    ),
    Scenario(
        name="shadow",
        sentence="requests are copied to the canary before anybody meets it; its answers are as good, and it ends as the default",
        script=(),
        ends=Status.COMPLETED,
        change=shadowed,
        knobs=GOOD_ANSWERS,
        rate=JUDGED_RATE,
    ),
    Scenario(
        name="worse-in-shadow",
        sentence="in its shadow the canary answers worse: it is rolled back before anybody has met it",
        script=(replace(GLIB, phase="shadow", after=1.0),),
        ends=Status.ROLLED_BACK,
        fault=Fault.WORSE,
        promise=90.0,
        change=shadowed,
        knobs=GOOD_ANSWERS,
        rate=JUDGED_RATE,
        says=("judge in the shadow: canary better in ", "nobody has met the canary"),
    ),
    Scenario(
        name="judge-away",
        sentence="the judge is away, then talks nonsense, then is slow: no data, so the release is held and says why",
        script=(
            Turn(BREAKING_PHASE, 2.0, "the judge is away: every connection to it breaks", arm="judge", knobs={"down_rate": 1.0}),
            Turn(
                BREAKING_PHASE,
                25.0,
                "the judge is back, and answers nonsense",
                arm="judge",
                knobs={"down_rate": 0.0, "nonsense_rate": 1.0},
            ),
            Turn(
                BREAKING_PHASE,
                45.0,
                "the judge makes sense again, and takes twenty seconds for it",
                arm="judge",
                knobs={"nonsense_rate": 0.0, "latency": 20.0},
            ),
            Turn(BREAKING_PHASE, 70.0, "the judge is well again", arm="judge", knobs={"latency": 0.02}),
        ),
        ends=Status.COMPLETED,
        holds=(r"no score \(.*unreachable", r"no score \(.*nonsense", r"no score \(.*late"),
        change=judged,
        knobs=GOOD_ANSWERS,
        rate=JUDGED_RATE,
    ),
    Scenario(
        name="refusals",
        sentence="the canary begins to refuse: no error, no wait; rules on sampled answers see it, at no model's cost",
        script=(
            Turn(
                BREAKING_PHASE,
                4.0,
                "the canary becomes timid: it refuses three of ten questions",
                arm="canary",
                knobs={"refusal_rate": 0.3},
                breaks=True,
            ),
        ),
        ends=Status.ROLLED_BACK,
        fault=Fault.WORSE,
        promise=90.0,
        change=ruled,
        knobs=GOOD_ANSWERS,
        rate=JUDGED_RATE,
        says=("tripwires: canary ",),
        dwell={BREAKING_PHASE: 60.0},
    ),
    _glib("thumbs-down", "one in five people say so", thumbs, Reacts.SAYS, ("thumbs: canary 0.",), dwell={BREAKING_PHASE: 120.0}),
    _glib("retries", "people ask it again", retries, Reacts.AGAIN, ("retries: canary ",)),
    _glib("regenerates", "people want its answers anew", regenerates, Reacts.AGAIN, ("regenerates: canary ",)),
    _glib(
        "short-sessions",
        "people leave sooner",
        sessions,
        Reacts.STAYS,
        ("session_length: canary ", " requests (of "),
        rate=SESSION_RATE,
        dwell={BREAKING_PHASE: 120.0},
    ),
)
