"""When automation may go on: windows and freezes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from extproc.spec.checks.tools import Found, blocks, did_you_mean
from extproc.spec.document.gates import FreezeBlock, WindowBlock
from extproc.spec.yamltext import Path


def check(path: Path, rollout: Mapping[str, Any]) -> Iterator[Found]:
    """Both open before they close, in a zone that there is."""
    for index, window in enumerate(blocks(WindowBlock, rollout.get("windows"))):
        here = (*path, "windows", index)
        if window is not None and window.from_ >= window.to:
            message = "it closes before it opens" if window.from_ > window.to else "it closes when it opens"
            yield "spec.window-order", here, message, "a night is two windows: one to 24:00, one from 00:00"
        if window is not None and not _is_zone(window.zone):
            hint = did_you_mean(window.zone, sorted(available_timezones()))
            yield "spec.unknown-zone", (*here, "zone"), f"there is no time zone {window.zone!r}", hint if len(hint) < 80 else _HINT
    for index, freeze in enumerate(blocks(FreezeBlock, rollout.get("freezes"))):
        if freeze is not None and freeze.from_ >= freeze.to:
            yield "spec.freeze-order", (*path, "freezes", index), "it ends before it begins", "swap from and to"


_HINT = "write an IANA name, such as Europe/Berlin, America/New_York or UTC"


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True
