"""One section for each alert: what it means, where to look, which section to go to. The heading is the alert's name in kebab case, as
words: an alert's link leads there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from extproc.domain import Spec
from extproc.plan.playbook.advice import Advice, advice
from extproc.plan.playbook.markdown import Command, bullets, command, kebab, link
from extproc.plan.playbook.place import Place

ALERTS: Final = "Alerts"


def title(alert: str) -> str:
    """`NoWatcher` -> `No watcher`, whose anchor is `no-watcher`."""
    return kebab(alert).replace("-", " ").capitalize().replace("Sla ", "SLA ")


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
