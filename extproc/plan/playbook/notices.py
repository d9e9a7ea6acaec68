"""What to say, to whom: ready to send, with this release's names and numbers. Where a number depends on the phase, one line is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from extproc.domain import Rollout, Spec
from extproc.plan.playbook.glance import allowed_failures, met_at_most
from extproc.plan.playbook.markdown import Command, command, fence
from extproc.plan.playbook.place import Place
from extproc.plan.said import REQUESTS, many
from extproc.release.sentences import percent

NOTICES: Final = "What to say"
NEXT_WORD: Final = 30
"""Minutes until the next message to colleagues: long enough to know more, short enough that nobody asks."""


def notices(spec: Spec, place: Place) -> Iterator[str]:
    """For each rollout: colleagues at once, users, and the end of it."""
    yield from (f"## {NOTICES}", "")
    yield (
        "Read it before you send it; every name and number is this release's. Where several lines begin with a phase, keep the one "
        "that was reached (`extproc status`, or the Journal), and delete the others. What is exact, and what it cost, says the "
        "post-mortem:"
    )
    yield ""
    for rollout in spec.rollouts.values():
        yield from command(Command(place.extproc("postmortem", rollout.name)))
        yield from (f"### To colleagues, at once, about {rollout.name}", "", *fence("text", _colleagues(spec, rollout)))
        yield from (f"### To users, about {rollout.name}", "", *fence("text", _users(spec)))
        yield from (f"### When {rollout.name} is over", "", *fence("text", _over(spec, rollout)))


def _where(spec: Spec, rollout: Rollout) -> str:
    paths = " and ".join(rollout.match.paths) or "every path"
    hosts = f" of {' and '.join(rollout.match.hosts)}" if rollout.match.hosts else ""
    return f"{spec.application.name} ({paths}{hosts})"


def _reached(spec: Spec, rollout: Rollout) -> Iterator[str]:
    for index, phase in enumerate(rollout.phases):
        units, requests = met_at_most(spec, rollout, index)
        if many(rollout) == REQUESTS:
            yield f"- at {phase.name}: at most {requests:,} of {spec.application.daily_requests:,} requests a day"
        else:
            whose = f"{units:,} of {spec.application.daily_units:,} {many(rollout)} a day"
            yield f"- at {phase.name}: at most {whose}, {requests:,} of their requests"


def _colleagues(spec: Spec, rollout: Rollout) -> str:
    application = spec.application
    lines = [
        f"{_where(spec, rollout)}: the release {rollout.name} has been taken back.",
        f"Every new request is answered by {rollout.stable} again; {rollout.canary} gets none. Nothing tries again by itself.",
        "It concerned:",
        *_reached(spec, rollout),
        f"Our SLA allows {allowed_failures(application):,} failed requests a day ({percent(application.sla.uptime)}).",
        f"We look for the cause. Nobody needs to do anything. Next word here in {NEXT_WORD} minutes.",
    ]
    return "\n".join(lines)


def _users(spec: Spec) -> str:
    lines = [
        f"Some answers of {spec.application.name} were given by a new version that did not meet our standards.",
        "We have switched it off; the version that you know answers again, and you do not need to do anything.",
        "If an answer of this time matters to you, please ask again.",
    ]
    return "\n".join(lines)


def _over(spec: Spec, rollout: Rollout) -> str:
    lines = [
        f"{_where(spec, rollout)}: the incident of the release {rollout.name} is over.",
        f"{rollout.stable} answers everybody again.",
        f"{rollout.canary} comes back only after somebody has said so, at {rollout.phases[0].name} first.",
        "The post-mortem follows: what was seen, when, by whom, what it cost, and what we change.",
    ]
    return "\n".join(lines)
