"""What an alert is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from extproc.domain import Spec

Values = Mapping[str, str]
"""Series -> its values, as `promtool test rules` writes them."""


class Severity(StrEnum):
    """page: somebody is woken. ticket: it can wait for a working day."""

    PAGE = "page"
    TICKET = "ticket"


@dataclass(frozen=True, slots=True)
class Alert:
    name: str
    """In CamelCase; its section of the playbook has the same name in kebab-case."""
    expr: str
    """PromQL without labels of its own: what fires has those below, and no others."""
    wait: float
    """Seconds for which it must hold."""
    severity: Severity
    summary: str
    description: str
    bad: Values
    """Series on which it fires, in the place of those of a world in which all is well."""
    rollout: str = ""
    """Empty: it is about the whole application."""
    phase: str = ""
    """Empty: it holds in every phase."""

    @property
    def all_labels(self) -> dict[str, str]:
        """Labels of what fires."""
        named = {"severity": self.severity.value, "rollout": self.rollout, "phase": self.phase}
        return {name: value for name, value in named.items() if value}

    def annotations(self, spec: Spec) -> dict[str, str]:
        """What whoever is called reads."""
        return {"summary": self.summary, "description": self.description, "runbook_url": runbook(spec, self.name)}


def runbook(spec: Spec, name: str) -> str:
    """Where the playbook says what to do about an alert."""
    base = f"{spec.alerts.runbooks}/" if spec.alerts is not None and spec.alerts.runbooks else ""
    return f"{base}PLAYBOOK.md#{anchor(name)}"


def anchor(name: str) -> str:
    """`NoWatcher` -> `no-watcher`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()
