"""Not everybody: one cohort, an earlier phase, no further; and what comes after a rollback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from extproc.domain import RollbackPolicy, Rollout, Spec
from extproc.plan.playbook.instant import AGAIN
from extproc.plan.playbook.markdown import Command, command, link
from extproc.plan.playbook.place import Place
from extproc.release.sentences import duration, percent

PART: Final = "Only a part"
PAUSE: Final = "Not further"
COHORT: Final = "One cohort"
PHASE: Final = "An earlier phase"
DRAIN: Final = "Everybody, but open conversations may end"
OVER: Final = "After an incident in both arms"


def several_cohorts(rollout: Rollout) -> bool:
    """True where one of them can go back and leave others."""
    return len(rollout.cohorts) > 1


def part(spec: Spec, place: Place) -> Iterator[str]:
    """Each act that moves some, or nobody; mildest first."""
    rollouts = tuple(spec.rollouts.values())
    yield from (
        f"## {PART}",
        "",
        "Each of these keeps the release alive, and moves within 100 ms. What is printed names the phase in which it stands; here it "
        "is the last.",
        "",
    )
    yield from (f"### {PAUSE}", "", "The share stays. A paused rollout is watched: bad evidence still rolls it back.", "")
    for one in rollouts:
        name = one.name
        pause = Command(place.extproc("pause", name, "--why", "somebody looks at it"), f"{name} is paused at {_last(one)} (generation N)")
        resume = Command(
            place.extproc("resume", name, "--why", "it was something else"), f"{name} is progressing at {_last(one)} (generation N)"
        )
        yield from command(pause)
        yield from ("To go on:", "")
        yield from command(resume)
    cohorts = [one for one in rollouts if several_cohorts(one)]
    if cohorts:
        yield from (
            f"### {COHORT}",
            "",
            "Its people meet stable, their open conversations too; nobody else is moved. The others' dwell begins anew. Where "
            "one is left, take all of it back instead.",
            "",
        )
        for one in cohorts:
            yield from _cohorts(one, place)
    returning = [one for one in rollouts if len(one.phases) > 1]
    if returning:
        yield from (
            f"### {PHASE}",
            "",
            "Those who came later go back to stable; nobody is new to the canary. It climbs again by itself: pause it if it shall not.",
            "",
        )
        for one in returning:
            yield from _phases(one, place)
    draining = [one for one in rollouts if one.conversation is not None]
    if draining:
        yield from _drain(draining, place)


def again(spec: Spec, place: Place) -> Iterator[str]:
    """What comes after: another attempt, and the end of an incident."""
    yield from (f"## {AGAIN}", "")
    yield (
        "When it is mended. Attempt k has alpha / 2^(k-1) and its evidence begins anew; edit the Spec before, because a rollout that "
        "runs cannot be changed."
    )
    yield ""
    for one in spec.rollouts.values():
        first = one.phases[0]
        yield from (f"`{one.name}` begins at {first.name}: it stays there for {duration(first.min_dwell)} at least.", "")
        said = f"{one.name} is progressing at {first.name} (generation N): attempt N, which has 1/N of alpha; its evidence begins anew"
        yield from command(Command(place.extproc("start", one.name, "--retry", "--why", "mended"), said))
    yield from (f"## {OVER}", "")
    yield (
        "Where stable breaks a ceiling as well, the release is held and a person is paged: rolling back would not help. It stays held "
        "after the incident, until somebody has looked. Nobody is moved by this; where nothing is held it is refused."
    )
    yield ""
    for one in spec.rollouts.values():
        yield from (f"* `{place.extproc('resume', one.name, '--why', 'the incident is over')}`", "")


def _last(rollout: Rollout) -> str:
    return rollout.phases[-1].name


def _cohorts(rollout: Rollout, place: Place) -> Iterator[str]:
    for number, cohort in enumerate(rollout.cohorts):
        shares = ", ".join(
            percent(share) for share in dict.fromkeys(rollout.share_of(cohort, index) for index in range(len(rollout.phases)))
        )
        tried = "" if number else ", asked first"
        yield from (f"`{cohort.name}` of `{rollout.name}`{tried}; its share of the canary goes {shares}:", "")
        said = f"cohort {cohort.name} is on stable; for everybody else {rollout.name} is progressing at {_last(rollout)} (generation N)"
        why = f"{cohort.name} alone is to blame"
        yield from command(Command(place.extproc("rollback", rollout.name, "--cohort", cohort.name, "--why", why), said))


def _phases(rollout: Rollout, place: Place) -> Iterator[str]:
    for phase in reversed(rollout.phases[:-1]):
        said = f"{rollout.name} is progressing at {phase.name} (generation N); conversation tokens have ended"
        yield from command(Command(place.extproc("return", rollout.name, "--to", phase.name, "--why", "too much for its pool"), said))


def _drain(rollouts: list[Rollout], place: Place) -> Iterator[str]:
    yield from (f"### {DRAIN}", "")
    yield "Only for a canary that answers, and in time: where it is its quality or its price. New conversations meet stable at once."
    yield ""
    for one in rollouts:
        assert one.conversation is not None
        itself = " Automation does the same." if one.conversation.on_quality_rollback is RollbackPolicy.DRAIN else ""
        yield from (f"Open conversations of `{one.name}` end within {duration(one.conversation.lifetime)}.{itself}", "")
        why = "it answers, and not well enough"
        said = f"{one.name} is rolled back (generation N)"
        yield from command(Command(place.extproc("rollback", one.name, "--drain", "--why", why), said))
        yield from (f"To end them all at once, after all. ({link(AGAIN)} ends them, too.)", "")
        said = f"{one.name}: every conversation token that was handed out so far has ended (generation N)"
        yield from command(Command(place.extproc("revoke", one.name, "--why", "waited long enough"), said))
