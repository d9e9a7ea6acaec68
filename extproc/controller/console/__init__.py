"""The console's server side, in the API process: its files, who has logged in, what a page is told while it is open."""

from extproc.controller.console.history import History
from extproc.controller.console.live import Live
from extproc.controller.console.routes import Console

__all__ = ["Console", "History", "Live"]
