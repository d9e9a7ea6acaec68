"""Where Spec, State, Evidence and Journal live between processes and restarts."""

from extproc.store.base import Store, open_store

__all__ = ["Store", "open_store"]
