"""GrowthBook's feature flags, answered exactly as GrowthBook's own Python SDK (4.0.0) answers them.

The document is the SDK payload, parsed: `{"features": {key: {defaultValue, rules}}, "savedGroups": {...}}`, as the SDK endpoint serves
it, not encrypted. Only the wanted feature and its prerequisites are looked at. Our use is that of a server: no page URL, no forced
variations, no sticky buckets; so `fallbackAttribute` counts for force rules only, and bucket versions change nothing.

    features    a feature: its rules in order, its prerequisites, its default     cold
    rules       a rule: force or experiment, coverage, ranges, filters            compiles to closures
    conditions  the Mongo-like language, saved groups                             compiles to closures
    operators   one attribute against one operand                                 compiles to closures
    values      the vendor's idea of types, equality, versions and paths          HOT
    hashing     the vendor's idea of a unit's id and its bucket; `point_of`       HOT
    reading     a field of the document, checked                                  cold
"""

from extproc.flags.growthbook.features import compile_flag
from extproc.flags.growthbook.hashing import point_of

__all__ = ["compile_flag", "point_of"]
