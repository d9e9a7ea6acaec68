"""Copies of a request's and an answer's bodies -> a Transcript.

`decoding` undoes compression, `sse` cuts a stream into events, `dialects` recognises the format, and there is one module for each
format, which reads a request into an `Asked` and an answer, in one piece or as a stream, into a `Draft`; `assemble` puts them together
and says how the exchange ended. Bodies come from anywhere: whatever they hold, nothing is raised, and the cost is linear in their size.
"""

from extproc.judge.assembly.assemble import Exchange, assemble
from extproc.judge.assembly.decoding import MOST_BYTES

__all__ = ["MOST_BYTES", "Exchange", "assemble"]
