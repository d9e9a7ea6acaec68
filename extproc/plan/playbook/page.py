"""PLAYBOOK.md: the sections in the order in which somebody needs them."""

from __future__ import annotations

from extproc.domain import Spec
from extproc.plan.playbook.alerts import alerts, anchors
from extproc.plan.playbook.concerned import concerned
from extproc.plan.playbook.glance import glance
from extproc.plan.playbook.instant import instant
from extproc.plan.playbook.markdown import anchored, command, page
from extproc.plan.playbook.notices import notices
from extproc.plan.playbook.partial import again, part
from extproc.plan.playbook.place import Place
from extproc.plan.playbook.tree import tree


def playbook(spec: Spec) -> str:
    """The whole file."""
    place = Place.of(spec)
    lines = [
        f"# Playbook: {spec.application.name}",
        "",
        f"For whoever is called. Every command is for this release as it is in Spec {spec.digest}: copy it as it is. {place.typed}",
        "",
        *(command(place.enter) if place.enter is not None else ()),
        "What an act means, and why it is made this way, is in extproc's guide `docs/rollback.md`; this page has the commands.",
        "",
        *tree(spec),
        *instant(spec, place),
        *glance(spec),
        *part(spec, place),
        *again(spec, place),
        *concerned(spec, place),
        *notices(spec, place),
        "When it is over: [what to ask, and what to write down](postmortem-template.md).",
        "",
        *alerts(spec, place),
    ]
    return anchored(page(lines), anchors(spec))
