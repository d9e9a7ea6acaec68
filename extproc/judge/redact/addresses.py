"""IP addresses of the public Internet. Those of private networks and of documentation name no person and stay: they explain logs."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from extproc.judge.redact.finds import Find, Kind

_FOUR: Final = re.compile(r"[0-9](?<![\w.-].)[0-9]{0,2}\.(?:[0-9]{1,3}\.){2}[0-9]{1,3}(?![\w-]|\.[0-9])")
_SIX: Final = re.compile(
    r"[23](?<![\w:.].)[0-9a-f]{3}:(?:[0-9a-f]{1,4}:){0,6}(?::|(?::[0-9a-f]{1,4}){1,6}|[0-9a-f]{1,4})(?![\w:])", re.IGNORECASE
)
_VERSION: Final = re.compile(
    r"(?:version|ver\.?|release|build|firmware|revision|rev\.?|section|chapter|abschnitt|kapitel|[=<>~^]=|chrome/|§)\s{0,2}[a-z]{0,12}\s?$",
    re.IGNORECASE,
)
BEFORE: Final = 24
"""Characters before four numbers in which a word says that they are a version."""
_GLOBAL: Final = ipaddress.ip_network("2000::/3")
"""All that is given out of IPv6 for the public Internet."""


def addresses(text: str) -> Iterator[Find]:
    for found in _FOUR.finditer(text):
        if _is_public(found[0]) and _VERSION.search(text, max(0, found.start() - BEFORE), found.start()) is None:
            yield Find(found.start(), found.end(), Kind.IP)
    if text.count(":") > 1:
        for found in _SIX.finditer(text):
            if _is_public(found[0]):
                yield Find(found.start(), found.end(), Kind.IP)


def _is_public(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address.is_global and not address.is_multicast and (address.version == 4 or address in _GLOBAL)
