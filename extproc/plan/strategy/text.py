"""PLAN.md: the application, what runs where, and for each rollout its phases, people, gates and approvals."""

from __future__ import annotations

from extproc.domain import Rollout, Spec, taking_part
from extproc.plan.markdown import code, link, prose
from extproc.plan.said import lasting
from extproc.plan.strategy import assignment, context, gating, people, phases
from extproc.release.plan import Plan, plan


def title(spec: Spec) -> str:
    """Of the document."""
    return f"Release plan of {spec.application.name}"


def whole(spec: Spec, picture: str, diagram: str) -> str:
    """The text of PLAN.md; `picture` and `diagram`: paths of the architecture's files."""
    parts = [
        f"# {prose(title(spec))}",
        *context.parts(spec),
        "## Architecture",
        f"![Load balancer, Envoy, router, models, and the way back of outcomes]({picture})",
        f"A request goes from left to right; nothing but its headers is shown to the router, which answers in microseconds. What became of "
        f"it goes from Envoy to the controller, which moves the release. The same as text: {link(diagram, diagram)}.",
    ]
    for rollout in spec.rollouts.values():
        parts += _rollout(spec, rollout)
    return "\n\n".join(parts) + "\n"


def _rollout(spec: Spec, rollout: Rollout) -> list[str]:
    made = plan(taking_part(spec, rollout), rollout)
    return [
        f"## Rollout {prose(rollout.name)}",
        _lead(rollout, made),
        *phases.parts(spec, rollout, made),
        *assignment.parts(spec, rollout),
        *gating.parts(rollout, made),
        *people.parts(rollout),
    ]


def _lead(rollout: Rollout, made: Plan) -> str:
    lasts = "it cannot succeed as it is" if made.seconds is None else f"{lasting(made.seconds)} at best"
    longest = sum(phase.max_dwell for phase in rollout.phases)
    return (
        f"From {code(rollout.stable)} to {code(rollout.canary)} in {len(rollout.phases)} phases: **{lasts}**, and "
        f"at most {lasting(longest)}, where a person is asked at the end of each."
    )
