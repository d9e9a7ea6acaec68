"""Feature flags of other systems, evaluated here exactly as their own SDKs would: who is in a flag is in the cohort.

One module a vendor; `flag` is what they share.
"""

import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

from extproc.domain import FlagVendor
from extproc.flags.flag import Attributes, Flag, FlagAnswer, FlagError

__all__ = ["Attributes", "Flag", "FlagAnswer", "FlagError", "compile_flag", "points", "seed_of"]

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,9}")
_SEEDS: Final = 1 << 31
"""LaunchDarkly's seeds are integers of 32 bits in its SDKs' narrowest languages; they are not negative."""


def compile_flag(vendor: FlagVendor, document: Mapping[str, Any], key: str) -> Flag:
    """One flag of a vendor's document; raises FlagError with everything that cannot be evaluated as the vendor would."""
    flag: Flag = _module(vendor).compile_flag(document, key)
    return flag


def points(vendor: FlagVendor, seed: str) -> Callable[[bytes], int]:
    """The vendor's own bucketing as a point on the ring of 2^32: its gradual rollout of share p has the ids below p * 2^32."""
    made: Callable[[bytes], int] = _module(vendor).point_of(seed)
    return made


def seed_of(vendor: FlagVendor, salt: str) -> str:
    """What the vendor is to hash in place of our salt: Unleash's groupId, GrowthBook's seed, flagd's flag key; LaunchDarkly's seed is a
    number, so a salt that is none (007 is not: the vendor would hash 7) becomes one."""
    if vendor is not FlagVendor.LAUNCHDARKLY or (_NUMBER.fullmatch(salt) and int(salt) < _SEEDS):
        return salt
    return str(int.from_bytes(sha256(salt.encode()).digest()[:4], "big") >> 1)


def _module(vendor: FlagVendor) -> Any:
    # Each vendor's module is loaded where a Spec uses it.
    from importlib import import_module

    return import_module(f"extproc.flags.{vendor.value}")
