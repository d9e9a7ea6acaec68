"""Which section to go to: a few questions, as a picture (Mermaid) and as text. Both are made of the same list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from extproc.domain import Spec
from extproc.plan.playbook import instant, partial
from extproc.plan.playbook.markdown import fence, link
from extproc.plan.playbook.partial import several_cohorts
from extproc.plan.playbook.place import chooses_models

WHICH: Final = "Which section"


@dataclass(frozen=True, slots=True)
class Fork:
    """A question, and the section for one of its answers; the other answer leads to the next question."""

    question: str
    answer: str
    """`yes` or `no`: leads to the section."""
    section: str
    act: str


def forks(spec: Spec) -> tuple[Fork, ...]:
    """The questions that this Spec leaves open, in the order in which they are asked."""
    rollouts = tuple(spec.rollouts.values())
    parts = [name for one in rollouts if several_cohorts(one) for name in (cohort.name for cohort in one.cohorts)]
    found = [
        Fork("Does extproc status answer?", "no", instant.WITHOUT, _switch(spec)),
        Fork("Are decisions wrong that no rollout explains?", "yes", instant.OFF, "processor off"),
        Fork("Does status say PAGE, with both models failing?", "yes", partial.OVER, "mend it; nobody is moved; then resume"),
    ]
    if parts:
        some = ", ".join(dict.fromkeys(parts))
        found.append(Fork(f"Is one cohort alone to blame ({some})?", "yes", partial.COHORT, "rollback --cohort"))
    found.append(Fork("Do people get errors, wrong or late answers from the canary?", "yes", instant.WITH, "rollback"))
    if any(one.conversation is not None for one in rollouts):
        found.append(Fork("Does it answer in time, but not well enough, or for too much?", "yes", partial.DRAIN, "rollback --drain"))
    if any(len(one.phases) > 1 for one in rollouts):
        found.append(Fork("Is it only too much for the canary's pool?", "yes", partial.PHASE, "return to a smaller share"))
    found.append(Fork("Do you not know yet?", "yes", partial.PAUSE, "pause, and look"))
    return tuple(found)


def _switch(spec: Spec) -> str:
    switched = any(chooses_models(one) for one in spec.rollouts.values())
    return "switch Envoy" if switched else "stop the routers"


def tree(spec: Spec) -> Iterator[str]:
    """The section."""
    found = forks(spec)
    yield from (f"## {WHICH}", "")
    yield "In doubt take everything back: it costs an attempt, and nobody's answer."
    yield ""
    yield from fence("mermaid", mermaid(found))
    for number, fork in enumerate(found, 1):
        other = "no" if fork.answer == "yes" else "yes"
        onward = f"{number + 1}" if number < len(found) else "leave it: the gates are watching"
        yield f"{number}. {fork.question} {fork.answer.capitalize()}: {link(fork.section)} ({fork.act}). {other.capitalize()}: {onward}."
    yield ""


def mermaid(found: Sequence[Fork]) -> str:
    """A flowchart, top down."""
    lines = ["flowchart TD"]
    for number, fork in enumerate(found, 1):
        lines.append(f'    q{number}{{"{fork.question}"}}')
        lines.append(f'    a{number}["{fork.section}: {fork.act}"]')
    lines.append('    rest["Leave it: the gates are watching"]')
    for number, fork in enumerate(found, 1):
        other = "no" if fork.answer == "yes" else "yes"
        onward = f"q{number + 1}" if number < len(found) else "rest"
        lines += [f"    q{number} -- {fork.answer} --> a{number}", f"    q{number} -- {other} --> {onward}"]
    return "\n".join(lines)
