"""Which pages may post, and where a client is. Pure.

A browser says in `Origin` which page posts. Pages of other origins than the service's own are named in the settings, never by `*`.
The client's address is the peer's, or, behind proxies of ours that each append to x-forwarded-for, the entry that the outermost appended.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address, ip_address
from typing import Final

from extproc.errors import Problem, SettingsError

PREFLIGHT_KEPT: Final = 600
"""Seconds for which a browser remembers what it may: a post at the end of a page then needs no question before."""
NETWORK: Final = 64
"""Bits of an IPv6 address that are one client: whoever has one address there has them all."""
_ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


def check_origins(names: Sequence[str]) -> frozenset[str]:
    """Origins as browsers write them; raises SettingsError with all that are none."""
    hint = "write scheme, name in lower case and port where it is not the usual one, such as https://chat.example.com; `*` is never one"
    problems = [Problem("feedback.origin", "origins", f"{name!r} is no origin", hint) for name in names if not _ORIGIN.fullmatch(name)]
    if problems:
        raise SettingsError(problems)
    return frozenset(names)


def may_post(origin: str | None, host: str, named: frozenset[str]) -> bool:
    """True for who is no page, a page of the service's own host, or of a named origin."""
    return origin is None or origin in named or origin.partition("://")[2] == host != ""


def cors(origin: str | None, named: frozenset[str]) -> Mapping[str, str]:
    """Headers of every answer: which page may read it."""
    return {"vary": "Origin", "access-control-allow-origin": origin} if origin in named and origin is not None else {"vary": "Origin"}


def preflight(origin: str | None, named: frozenset[str]) -> Mapping[str, str]:
    """Headers of the answer to a browser's question whether a page may post; without permission where it may not."""
    allowed = {
        "access-control-allow-methods": "POST",
        "access-control-allow-headers": "content-type",
        "access-control-max-age": str(PREFLIGHT_KEPT),
    }
    return {**cors(origin, named), **(allowed if origin in named else {})}


def client_address(peer: str, forwarded: Sequence[str], hops: int) -> str:
    """Who posts. `hops`: proxies of ours on the way; where the header has fewer entries, somebody came past them, and the peer it is."""
    entries = [entry.strip() for line in forwarded for entry in line.split(",")]
    said = entries[-hops] if 0 < hops <= len(entries) else peer
    for one in (said, peer):
        try:
            address = ip_address(one.rpartition(":")[0] if one.count(":") == 1 else one.strip("[]"))
        except ValueError:
            continue
        if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
            return str(IPv6Address(int(address) >> 128 - NETWORK << 128 - NETWORK))
        return str(getattr(address, "ipv4_mapped", None) or address)
    return peer
