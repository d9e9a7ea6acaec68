"""WHEN it moves: Evidence, e-processes, gates, decisions. Pure: the clock is an argument."""

from extproc.release.adopt import adopt
from extproc.release.apply import apply
from extproc.release.decide import AUTOMATION, Wish, decide, human
from extproc.release.evidence import Evidence
from extproc.release.gate import by_cohort, evaluate, harm_limit
from extproc.release.missing import unmet, waiting_for
from extproc.release.pairs import Pairs
from extproc.release.shadowing import decide_shadow, shadow_needs

__all__ = [
    "AUTOMATION",
    "Evidence",
    "Pairs",
    "Wish",
    "adopt",
    "apply",
    "by_cohort",
    "decide",
    "decide_shadow",
    "evaluate",
    "harm_limit",
    "human",
    "shadow_needs",
    "unmet",
    "waiting_for",
]
