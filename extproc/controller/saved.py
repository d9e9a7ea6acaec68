"""Evidence as rows of the store: what a second adds is written each second, and little more.

The distinct units of a visit are up to 20,000 hashes, 380 kB; they only ever grow at the end, so they are kept in rows of their own,
`<rollout>#<attempt>/<row>`, and only the last ones change. Rows of an earlier visit are not deleted but passed over, until the
present one needs their names. The first row, `<rollout>#<attempt>`, says how many units there are, and is written with the others
in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import orjson

from extproc.release import Evidence, Pairs

if TYPE_CHECKING:
    from extproc.controller.loop import Desk

UNITS_IN_ROW: Final = 1_000

Extent = tuple[int, int]
"""(visit, units) that the store has already."""
NOTHING_SAVED: Final[Extent] = (0, 0)


def evidence_key(rollout: str, attempt: int) -> str:
    """Every attempt keeps its own Evidence: the old one is the archive."""
    return f"{rollout}#{attempt}"


def rows(rollout: str, evidence: Evidence, saved: Extent, pairs: Pairs | None = None) -> dict[str, str]:
    """What a store that has `saved` does not have yet; `pairs`: of the shadow before it."""
    key = evidence_key(rollout, evidence.attempt)
    document = evidence.to_json()
    units: list[str] = document.pop("canary_units")
    visit, known = saved
    first = known // UNITS_IN_ROW if visit == evidence.generation else 0
    found = {key: _text({**document, "units": len(units)})}
    for row in range(first, -(-len(units) // UNITS_IN_ROW)):
        part = units[row * UNITS_IN_ROW : (row + 1) * UNITS_IN_ROW]
        if len(part) < UNITS_IN_ROW or (visit, known) != (evidence.generation, (row + 1) * UNITS_IN_ROW):
            found[f"{key}/{row}"] = _text({"generation": evidence.generation, "units": part})
    if pairs is not None:
        found[_pairs_key(rollout, evidence.attempt)] = _text(pairs.to_json())
    return found


def paired(begun: Pairs, rollout: str, attempt: int, stored: Mapping[str, str]) -> Pairs:
    """The pairs of a shadow as they were saved, put into `begun`; as it was, where they are of another visit or cannot be used."""
    written = stored.get(_pairs_key(rollout, attempt))
    if written is not None:
        with suppress(KeyError, TypeError, ValueError):
            begun.restore(orjson.loads(written))
    return begun


def _pairs_key(rollout: str, attempt: int) -> str:
    return f"{evidence_key(rollout, attempt)}/shadow"


def extent(evidence: Evidence) -> Extent:
    """What the store has once those rows are in it."""
    return evidence.generation, len(evidence.canary_units)


def document(rollout: str, attempt: int, stored: Mapping[str, str]) -> dict[str, Any] | None:
    """What `Evidence.from_json` wants, None where there is none; raises KeyError or ValueError where rows do not fit together."""
    key = evidence_key(rollout, attempt)
    if key not in stored:
        return None
    found: dict[str, Any] = orjson.loads(stored[key])
    count = found.pop("units")
    units: list[str] = []
    for row in range(-(-count // UNITS_IN_ROW)):
        part = orjson.loads(stored[f"{key}/{row}"])
        if part["generation"] != found["generation"]:
            raise ValueError(f"row {row} of its units is of visit {part['generation']}, not {found['generation']}")
        units += part["units"]
    if len(units) != count:
        raise ValueError(f"it has {len(units)} units, not {count}")
    return {**found, "canary_units": units}


def _text(value: dict[str, Any]) -> str:
    return orjson.dumps(value).decode()


def unsaved(desks: Iterable[Desk]) -> dict[str, str]:
    """What the store does not have yet of their Evidence."""
    return {key: row for desk in desks for key, row in rows(desk.rollout.name, desk.evidence, desk.saved, desk.pairs).items()}


def are_saved(desks: Iterable[Desk]) -> None:
    """All of it is in the store."""
    for desk in desks:
        desk.saved = extent(desk.evidence)
