"""Opens a page in the browser of whoever sits before this terminal, where there is one."""

from __future__ import annotations

import sys
import threading
import webbrowser
from collections.abc import Mapping
from typing import Final

DISPLAYS: Final = ("DISPLAY", "WAYLAND_DISPLAY")
"""Without one of them a browser on Linux is a text browser, which would take the terminal."""
NOBODY: Final = ("CI", "SSH_CONNECTION", "SSH_TTY")
"""A machine's own work, or a person who sits before another screen."""


def is_watched(environment: Mapping[str, str], interactive: bool, platform: str = sys.platform) -> bool:
    """True where a person sits before this machine's own screen. `interactive`: both ends of the command are a terminal."""
    if not interactive or any(environment.get(name, "false").lower() not in ("", "0", "false") for name in NOBODY):
        return False
    return not platform.startswith("linux") or any(environment.get(name) for name in DISPLAYS)


def show(address: str) -> threading.Thread:
    """Open it; nobody waits, and nobody minds where it does not work. The thread ends when the browser was told."""
    telling = threading.Thread(target=webbrowser.open, args=(address,), name="browser", daemon=True)
    telling.start()
    return telling
