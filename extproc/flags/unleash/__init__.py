"""Unleash feature flags, answered as UnleashClient for Python 6.9.1 (engine: yggdrasil 2.0.0) answers them.

The map: `features` compiles a flag with its parents; `strategies` says who is in, `constraints` and `segments` narrow it, `variants`
picks a name; `reading` collects Problems; `context` turns attributes into the texts that the engine sees; `instants`, `values`,
`letters`, `pattern` and `automaton` read texts as the engine reads them; `points` is the hash.

Attributes carry Unleash's own names: userId, sessionId, environment, appName, remoteAddress, currentTime; every other name is a
custom property. `environment` and `appName` are those that the application gives its own Unleash client.

One deliberate difference: **no random**. Where the engine would draw (default stickiness with neither userId nor sessionId), we answer
the same each time: such a request is not in, and a variant that would be drawn is no variant (an empty name). What is random for
everybody (gradualRolloutRandom, stickiness `random`) is refused at load, unless the share is 0 or 100 %.
"""

from extproc.flags.unleash.features import compile_flag
from extproc.flags.unleash.points import point_of

__all__ = ["compile_flag", "point_of"]
