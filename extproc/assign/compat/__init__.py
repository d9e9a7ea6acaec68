"""Feature flags of other systems, evaluated here exactly as their own SDKs would: who is in a flag is in the cohort.

One module a vendor; `flag` is what they share.
"""

from extproc.assign.compat.flag import Attributes, Flag, FlagAnswer, FlagError

__all__ = ["Attributes", "Flag", "FlagAnswer", "FlagError"]
