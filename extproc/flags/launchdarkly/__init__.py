"""LaunchDarkly's flags, answered as its server SDK answers them (the oracle in our tests: launchdarkly-server-sdk for Python, 9.20.0).

The document is what the SDK itself reads: {"flags": {key: {...}}, "segments": {key: {...}}}.

* The context is the one that the SDK's `ContextBuilder.set` makes of the attributes: `key` is the context's key, `kind` its kind (`user`
  if it is not given), and a built-in of a wrong type (a `name` that is no text, an `anonymous` that is no boolean) is as if it were not
  there. Contexts of several kinds do not exist here: one request is one context.
* variant is the variation's index as text, value the variation's value, on whether that value is truthy.
* Where the SDK would give the caller's default (no key, an invalid kind, an off flag without an off variation, an exception of its
  own), the answer is off, no variant and no value.
* No rule of LaunchDarkly asks for the time: `needs_time` is always False.
* Refused at load: big segments (their members are not in the document), operators and kinds of rollout that this SDK does not know,
  cycles, references to what the document does not hold, and values that an operator can never use. A tombstone (`"deleted": true`)
  is not missing: it never matches, as in the SDK.

Where to look: `reading` the document with every Problem collected, `reference` to attributes, `operators`, `clauses`, `segments`,
`bucketing` (the hash, rollouts, and `point_of`), `flags`.
"""

from extproc.flags.launchdarkly.bucketing import point_of
from extproc.flags.launchdarkly.flags import compile_flag

__all__ = ["compile_flag", "point_of"]
