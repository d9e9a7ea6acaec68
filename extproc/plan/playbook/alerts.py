"""One section for each alert: what it means, where to look, which section to go to. Its anchor is the alert's name in kebab case."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from extproc.domain import Spec
from extproc.plan.monitoring.alert import anchor
from extproc.plan.monitoring.alerts import names
from extproc.plan.playbook.advice import Advice, advice
from extproc.plan.playbook.markdown import Command, bullets, command, link
from extproc.plan.playbook.place import Place

ALERTS: Final = "Alerts"


def title(alert: str) -> str:
    """`RolloutNeedsSomebody` -> `Rollout needs somebody`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", alert)
    return words.capitalize().replace("Sla ", "SLA ")


def anchors(spec: Spec) -> dict[str, str]:
    """Heading -> the name to which the alert's link leads."""
    return {title(name): anchor(name) for name in names(spec)}


def alerts(spec: Spec, place: Place) -> Iterator[str]:
    """The section, a part for each alert that this Spec has."""
    known = advice(spec, place)
    yield from (f"## {ALERTS}", "", "Each link of an alert leads to its part.", "")
    for name, one in known.items():
        yield from _alert(name, one)


def _alert(name: str, one: Advice) -> Iterator[str]:
    yield from (f"### {title(name)}", "", f"`{name}`. {one.means}", "")
    yield from command(*(Command(look) for look in one.look))
    yield from bullets(f"{when}: {link(section)}." for when, section in one.then)
