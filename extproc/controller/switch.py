"""The off switch: Envoys that are told over xDS ask the processor nothing, and every request goes to the default.

It is in State, so that it survives restarts and another controller knows of it; with it go Journal entries, one for each rollout. Envoys
that have a file of their own cannot be told: for them routers send canary traffic to stable, as long as they can.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from extproc.controller.loop import Loop
from extproc.controller.talk import SWITCHES
from extproc.domain import Action, JournalEntry, SwitchedOff


def switch(loop: Loop, word: str, actor: str, why: str, now: float, request: str) -> dict[str, Any]:
    """Off or on; committed when this returns. What is so already is not done again. Raises StoreError and has then changed nothing."""
    before, off = loop.state, SWITCHES[word] is Action.SWITCH_OFF
    if (before.off is not None) == off:
        return {**document(loop), "generation": before.generation, "repeated": True}
    state = replace(before, generation=before.generation + 1, off=SwitchedOff(now, actor, why) if off else None)
    numbers = {"request": request} if request else {}
    entries = [JournalEntry(0, now, name, actor, SWITCHES[word], why, state.generation, numbers) for name in loop.desks]
    loop.put(state, entries)
    return {**document(loop), "generation": state.generation}


def document(loop: Loop) -> dict[str, Any]:
    """For `status`."""
    off = loop.state.off
    return {"off": off is not None, "since": off.at if off else None, "actor": off.actor if off else None, "why": off.why if off else None}
