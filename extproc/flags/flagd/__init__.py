"""flagd (OpenFeature): flags evaluated as flagd's Python provider does in process (openfeature-flagd-core 2.0.0).

`document` finds and checks a flag, `logic` compiles its rule (`names`, `operators`, `shares` are the operations), `coerce`, `variables`,
`texts`, `fractional` and `cbor` are what runs at a request.
"""

from extproc.flags.flagd.compile import compile_flag
from extproc.flags.flagd.fractional import point_of

__all__ = ["compile_flag", "point_of"]
