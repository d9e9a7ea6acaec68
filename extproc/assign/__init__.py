"""WHICH arm: Spec + State -> Snapshot (cold), Snapshot + Subject -> Answer (hot)."""

from extproc.assign.assign import assign, decide
from extproc.assign.bucket import point
from extproc.assign.compile import NO_SECRETS, Secrets, compile, derive, derive_in_steps, prepare
from extproc.assign.prepared import Prepared
from extproc.assign.snapshot import Answer, Choice, CompiledRollout, Note, Snapshot
from extproc.assign.tokens import Fate, conversation_key, sign_qa
from extproc.domain import RING

__all__ = [
    "NO_SECRETS",
    "RING",
    "Answer",
    "Choice",
    "CompiledRollout",
    "Fate",
    "Note",
    "Prepared",
    "Secrets",
    "Snapshot",
    "assign",
    "compile",
    "conversation_key",
    "decide",
    "derive",
    "derive_in_steps",
    "point",
    "prepare",
    "sign_qa",
]
