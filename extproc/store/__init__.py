"""Where Spec, State, Evidence and Journal live between processes and restarts."""

from extproc.store.backup import Copied, backup
from extproc.store.base import FAILURE_KINDS, Health, Store, open_store

__all__ = ["FAILURE_KINDS", "Copied", "Health", "Store", "backup", "open_store"]
