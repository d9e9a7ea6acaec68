"""`extproc serve`: the controller as a kept-alive child, the router's supervisor in this process, the store between them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import uvloop

from extproc.router.settings import RouterSettings
from extproc.router.supervisor import Supervisor, check
from extproc.runtime import RELOAD, hangup_asks, stop_on_signals
from extproc.runtime.child import Child

STOP_TIMEOUT = 10.0


def main(settings: RouterSettings, controller_arguments: Sequence[str]) -> None:
    """Run both until told to stop. The router goes on without the controller, and the other way round."""
    check(settings)
    uvloop.run(_run(settings, (sys.executable, "-m", "extproc", "controller", "--tied", *controller_arguments)))


async def _run(settings: RouterSettings, command: tuple[str, ...]) -> None:
    stop = stop_on_signals()
    supervisor = Supervisor(settings)
    controller = Child("controller", command, talks=False)
    # The controller reads the Spec, the workers follow the store; it is told over its standard input, where a signal could come too early.
    hangup_asks(lambda: controller.tell(RELOAD))
    keeping = asyncio.create_task(controller.keep())
    try:
        await supervisor.run(stop)
    finally:
        # The router drains first: until its last decision somebody watches the outcomes.
        await controller.stop(STOP_TIMEOUT)
        await keeping
