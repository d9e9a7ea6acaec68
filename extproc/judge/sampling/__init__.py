"""From Envoy's copies to samples: gather the pieces of one exchange, choose, assemble, redact. Pure."""

from extproc.judge.sampling.choice import Chances, Chooser
from extproc.judge.sampling.copy import Copy, Gathered
from extproc.judge.sampling.pairing import Pair, Pairing
from extproc.judge.sampling.sampler import Sampler

__all__ = ["Chances", "Chooser", "Copy", "Gathered", "Pair", "Pairing", "Sampler"]
