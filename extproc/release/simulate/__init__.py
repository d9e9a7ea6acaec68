"""Releases that never were: how often a harmless canary is rolled back, how soon a harmful one is, by our rules and by others'.

`plain`: one measure, request by request, as the design's table was made. `full`: the Evidence, gates and decisions of the controller in
a world of `worlds`. `peers`: the rules of others on the same traffic. `prove`: each gate seen to block. Chance is an argument (`Draw`).
"""

from extproc.release.simulate.draw import Draw
from extproc.release.simulate.full import Run, Setting, at_share, simulate
from extproc.release.simulate.full import rows as full_rows
from extproc.release.simulate.plain import TABLE
from extproc.release.simulate.plain import rows as plain_rows
from extproc.release.simulate.prove import Proof, prove
from extproc.release.simulate.rows import Row, Stop
from extproc.release.simulate.worlds import WORLDS, Side, World

__all__ = [
    "TABLE",
    "WORLDS",
    "Draw",
    "Proof",
    "Row",
    "Run",
    "Setting",
    "Side",
    "Stop",
    "World",
    "at_share",
    "full_rows",
    "plain_rows",
    "prove",
    "simulate",
]
