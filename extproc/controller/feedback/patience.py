"""Connections that send a request's head too slowly, or none at all, are closed: each costs a file descriptor, and there are as many as
there are. (Bodies have a time of their own, in `app`; the server itself closes connections that are idle between two requests.)
"""

from __future__ import annotations

import asyncio
import resource
from typing import Any, Final
from weakref import WeakKeyDictionary

from extproc.runtime.http import HttpServer

LOOK_EVERY: Final = 1.0
HEAD: Final = 10.0
"""Seconds for a request's head, about."""


def take_files() -> None:
    """As many open files as the system lets us have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def watch(server: HttpServer) -> None:
    """Forever."""
    loop = asyncio.get_running_loop()
    since: WeakKeyDictionary[Any, tuple[int, float]] = WeakKeyDictionary()
    while True:
        await asyncio.sleep(LOOK_EVERY)
        now = loop.time()
        for one in list(server.connections):
            if _is_served(one):
                since.pop(one, None)
                continue
            # The same request as last time: nothing has been served in between.
            request, begun = since.get(one, (0, now))
            if request != id(one.cycle):
                since[one] = id(one.cycle), now
            elif now - begun > HEAD:
                one.transport.abort()


def _is_served(connection: Any) -> bool:
    """True while a request is answered, and while the server's own timer runs for an idle connection."""
    cycle = connection.cycle
    if cycle is None:
        return False
    return not cycle.response_complete or connection.timeout_keep_alive_task is not None
