"""Findings of a line of the Journal as a table: each gate with both arms' values, its evidence against its limit, and its sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from extproc.measures import MEASURES
from extproc.plan.markdown import prose
from extproc.plan.playbook.markdown import table
from extproc.release.sentences import e_value, value

COLUMNS: Final = ("gate", "verdict", "canary", "stable", "samples", "harm E, of limit", "said")
_CEILING: Final = "ceiling:"


def findings(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of Findings as the Journal keeps them; nothing for none."""
    return table(COLUMNS, [_row(one) for one in found]) if found else []


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    gate = str(one["gate"])
    samples = f"{one['canary_samples']:,} / {one['stable_samples']:,}"
    whose = f" ({one['cohort']})" if one.get("cohort") else ""
    values = (_value(gate, one["canary_value"]), _value(gate, one["stable_value"]))
    return (prose(gate + whose), str(one["verdict"]).replace("_", " "), *values, samples, _evidence(one), prose(str(one["sentence"])))


def _value(gate: str, number: float | None) -> str:
    measure = MEASURES.get(gate.removeprefix(_CEILING))
    return "-" if number is None else value(measure, number) if measure is not None else f"{number:,.4g}"


def _evidence(one: Mapping[str, Any]) -> str:
    """Nothing for a rule that has no e-value."""
    harm, limit = one.get("log_e_harm"), one.get("log_e_limit")
    return f"{e_value(harm)} of {e_value(limit)}" if harm is not None and limit else "-"
