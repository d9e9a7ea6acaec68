"""WHEN it moves: Evidence, e-processes, gates, decisions. Pure: the clock is an argument."""

from extproc.release.adopt import adopt
from extproc.release.apply import apply
from extproc.release.decide import AUTOMATION, Wish, decide, human
from extproc.release.evidence import Evidence
from extproc.release.gate import by_cohort, evaluate, harm_limit
from extproc.release.missing import unmet, waiting_for

__all__ = [
    "AUTOMATION",
    "Evidence",
    "Wish",
    "adopt",
    "apply",
    "by_cohort",
    "decide",
    "evaluate",
    "harm_limit",
    "human",
    "unmet",
    "waiting_for",
]
