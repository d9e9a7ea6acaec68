"""The requests that a rollback concerns: who, what to do again, whom to tell, what to delete."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Final

from extproc import contract
from extproc.domain import FeedbackTerms, Rollout, Spec
from extproc.plan.playbook.markdown import Command, bullets, command
from extproc.plan.playbook.place import Place

CONCERNED: Final = "The requests it concerned"
LIST: Final = "The list of those who met the canary"
RERUN: Final = "To do them again"
NOTICE: Final = "To tell people"
DELETE: Final = "To delete"
DAYS: Final = 30
"""For so long the list is kept, unless `--exposures-days` says otherwise."""


def concerned(spec: Spec, place: Place) -> Iterator[str]:
    """Each thing that is done with them, in the order in which it is done."""
    rollouts = tuple(spec.rollouts.values())
    yield from (f"## {CONCERNED}", "", "With or without a controller: the lists are read from the file beside the store.", "")
    yield from (f"### {LIST}", "")
    yield (
        f"Every request that met the canary, how it ended, and whom it was of, as a hash; kept for {DAYS} days unless "
        "`--exposures-days` says otherwise. Take it before you do anything else. The summary and every gap are told on standard error; "
        "where it says PARTIAL, another controller has led and its list is not in this one: do what that line says."
    )
    yield ""
    for one in rollouts:
        yield from command(
            _saved(place, f"{one.name}-units.csv", "exposures", one.name, "--units"),
            _saved(place, f"{one.name}-failed.csv", "exposures", one.name, "--failed"),
        )
    yield from _rerun(spec, rollouts)
    yield from (f"### {NOTICE}", "")
    if any(one.unit.sources for one in rollouts):
        yield (
            "A hash is nobody's address. Write the ids of your users, one a line, into `users.txt`: the list then has the id of each who "
            "met the canary, and nobody else's."
        )
        yield ""
    for one in rollouts:
        yield from (f"Of `{one.name}`: {_ids(one)}.", "")
        yield from command(_named(place, one)) if one.unit.sources else ()
    yield from _delete(spec, rollouts, place)


def _saved(place: Place, path: str, *words: str) -> Command:
    """Into a file that is its owner's alone; in Kubernetes the file is on this side."""
    if place.entered:
        return Command(f"(umask 077; {place.extproc(*words)} > {shlex.quote(path)})")
    return Command(place.extproc(*words, "-o", path))


def _named(place: Place, rollout: Rollout) -> Command:
    """The list with names; in Kubernetes the ids go in through standard input, and are written nowhere."""
    path, words = f"{rollout.name}-people.csv", ("exposures", rollout.name, "--units", "--known", "--ids")
    if place.entered:
        return Command(f"(umask 077; cat users.txt | {place.extproc(*words, '/dev/stdin', fed=True)} > {shlex.quote(path)})")
    return _saved(place, path, *words, "users.txt")


def _ids(rollout: Rollout) -> str:
    kind, sources = rollout.unit.kind, [f"{source.kind.value.replace('_', ' ')} `{source.name}`" for source in rollout.unit.sources]
    return (
        f"an id is what names a {kind} in {', else '.join(sources)}"
        if sources
        else "every request is a unit of its own, so the list has requests and no people; your application knows whose each was"
    )


def _rerun(spec: Spec, rollouts: tuple[Rollout, ...]) -> Iterator[str]:
    yield from (f"### {RERUN}", "")
    yield (
        "extproc keeps no prompt and no answer of anybody who was not sampled: the application that asked has them. The column "
        f"`request` of the list is the `{contract.REQUEST_ID_HEADER}` of Envoy's log and of yours. Send what failed once more to the "
        "same address, after the rollback; the same user meets stable now:"
    )
    yield ""
    paths = {one.name: one.match.paths or ("/",) for one in rollouts}
    yield from bullets(
        f"`{one.name}`: {', '.join(f'`{path}`' for path in paths[one.name])} on port {spec.listener.port}, answered by `{one.stable}`"
        for one in rollouts
    )
    yield (
        "An answer that came with 200 and was wrong is in the list of all requests (without `--failed`) alone: what to do again there "
        "is for you to say."
    )
    yield ""


def _delete(spec: Spec, rollouts: tuple[Rollout, ...], place: Place) -> Iterator[str]:
    yield from (f"### {DELETE}", "")
    judged = [f"`{one.name}`" for one in rollouts if one.judging is not None] if spec.judge is not None else []
    if not judged and spec.feedback is None:
        yield (
            f"Nothing of what was said is kept: no rollout here is judged. The list has hashes, which leave it after {DAYS} days; what "
            "the model's vendor keeps is for you to ask there."
        )
        yield ""
        return
    yield from _kept(judged, spec.feedback)
    yield from ("", "A person who asks for it is forgotten at once and for good (write the ids into `forget.txt`):", "")
    yield from command(Command(f"xargs --arg-file forget.txt --max-args 1 {place.extproc('forget')}"))
    yield (
        f"That the person met a canary stays in the list, as a hash, for {DAYS} days, and what was counted stays in the counts, in which "
        "nobody is. What the model's vendor keeps is for you to ask there."
    )
    yield ""
    if judged:
        yield from ("To copy nothing more, from this moment on, until the key is removed or Envoy restarts:", "")
        yield from command(place.switch(f"{contract.RUNTIME_SAMPLE}=0"))


def _kept(judged: Sequence[str], feedback: FeedbackTerms | None) -> Iterator[str]:
    """What there is of people besides the list."""
    if judged:
        yield f"Answers of {' and '.join(judged)} were sampled for the judge, redacted."
    if feedback is not None:
        yield (
            f"The log of feedback has what users said (a thumb, a rating; no text), with hashes, for {DAYS} days."
            + (
                " What came by a request id alone bears no hash: it is found where that request met a canary, and else leaves with its age."
                if feedback.keys_file or feedback.request_ids_from_browsers
                else ""
            )
        )
