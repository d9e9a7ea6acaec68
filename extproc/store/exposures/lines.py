"""Lines of the list as text: CSV and JSON with the same columns, for the command and the API."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from io import StringIO
from typing import Any, Final

import orjson

from extproc.store.exposures.gaps import instant
from extproc.store.exposures.reading import Met, Summary
from extproc.store.exposures.record import Exposure

COLUMNS: Final = Exposure._fields
UNIT_COLUMNS: Final = ("unit", "id", "first", "last", "requests", "failed")
ID: Final = "id"
"""The one column that holds an id; it is there only where the asker has named some."""
_START: Final = COLUMNS.index("start")
_ID: Final = COLUMNS.index(ID)
_UNITS_ID: Final = UNIT_COLUMNS.index(ID)
_TRUTHS: Final = tuple(COLUMNS.index(name) for name in ("durable", "ended", "failed", "client_aborted", "throttled"))


def values(line: Exposure | Met) -> tuple[Any, ...]:
    """In the order of its columns; instants as text."""
    if isinstance(line, Met):
        return line.unit, line.id, instant(line.first, 6), instant(line.last, 6), line.requests, line.failed
    return (*line[:_START], instant(line.start, 6), *line[_START + 1 :])


def columns(of_units: bool, ids: bool) -> tuple[str, ...]:
    """Names; without `id` where nobody was named."""
    return tuple(name for name in (UNIT_COLUMNS if of_units else COLUMNS) if ids or name != ID)


def as_jsonl(lines: Iterable[Exposure | Met], ids: bool) -> str:
    """A JSON object for each, one a line."""
    return "".join(_json(line, ids) for line in lines)


def _json(line: Exposure | Met, ids: bool) -> str:
    document = dict(zip(UNIT_COLUMNS if isinstance(line, Met) else COLUMNS, values(line), strict=True))
    if not ids:
        del document[ID]
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE).decode()


def as_csv(lines: Iterable[Exposure | Met], ids: bool) -> str:
    """Rows; `true`, `false`, and nothing for what is not known."""
    return csv_rows(_row(line, ids) for line in lines)


def _row(line: Exposure | Met, ids: bool) -> list[Any]:
    found = list(values(line))
    place = _UNITS_ID if isinstance(line, Met) else _ID
    if isinstance(line, Exposure):
        for one in _TRUTHS:
            found[one] = "true" if found[one] else "false"
    if not ids:
        del found[place]
    return found


def csv_rows(rows: Iterable[Sequence[Any]]) -> str:
    """As a spreadsheet reads them."""
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def as_last_line(summary: Summary, elsewhere: Sequence[str] = ()) -> str:
    """A list in lines of JSON ends with it. `elsewhere`: what other machines have of it, in sentences."""
    document = asdict(summary)
    gaps = [{**one, "sentence": gap.sentence()} for one, gap in zip(document["gaps"], summary.gaps, strict=True)]
    said = {"summary": {**document, "gaps": gaps, "elsewhere": elsewhere}}
    return orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE).decode()
