"""Where Spec, State, Evidence and Journal live between processes and restarts."""

from extproc.store.backup import Copied, backup
from extproc.store.base import FAILURE_KINDS, Health, Leadership, SharedStore, Store, is_shared, open_shared, open_store, whole_journal
from extproc.store.terms import Led, Term, who_led

__all__ = [
    "FAILURE_KINDS",
    "Copied",
    "Health",
    "Leadership",
    "Led",
    "SharedStore",
    "Store",
    "Term",
    "backup",
    "is_shared",
    "open_shared",
    "open_store",
    "who_led",
    "whole_journal",
]
