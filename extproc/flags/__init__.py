"""Feature flags of other systems, evaluated here exactly as their own SDKs would: who is in a flag is in the cohort.

One module a vendor; `flag` is what they share.
"""

from collections.abc import Callable, Mapping
from typing import Any

from extproc.domain import FlagVendor
from extproc.flags.flag import Attributes, Flag, FlagAnswer, FlagError

__all__ = ["Attributes", "Flag", "FlagAnswer", "FlagError", "compile_flag", "points"]


def compile_flag(vendor: FlagVendor, document: Mapping[str, Any], key: str) -> Flag:
    """One flag of a vendor's document; raises FlagError with everything that cannot be evaluated as the vendor would."""
    flag: Flag = _module(vendor).compile_flag(document, key)
    return flag


def points(vendor: FlagVendor, seed: str) -> Callable[[bytes], int]:
    """The vendor's own bucketing as a point on the ring of 2^32: its gradual rollout of share p has the ids below p * 2^32."""
    made: Callable[[bytes], int] = _module(vendor).point_of(seed)
    return made


def _module(vendor: FlagVendor) -> Any:
    # Each vendor's module is loaded where a Spec uses it.
    from importlib import import_module

    return import_module(f"extproc.flags.{vendor.value}")
