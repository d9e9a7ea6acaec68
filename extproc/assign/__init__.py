"""WHICH arm: Spec + State -> Snapshot (cold), Snapshot + Subject -> Answer (hot)."""

from extproc.assign.bucket import RING, point
from extproc.assign.compile import Prepared, compile, derive, prepare
from extproc.assign.snapshot import Answer, Choice, Snapshot, assign

__all__ = ["RING", "Answer", "Choice", "Prepared", "Snapshot", "assign", "compile", "derive", "point", "prepare"]
