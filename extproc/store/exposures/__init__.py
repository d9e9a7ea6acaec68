"""Exposures: every request that met a canary, and how it ended. A file of its own beside the store, `<store>.exposures`.

`file` writes (the controller's one writer thread), `reading` reads (whoever may read the file), `union` reads several as one (`told` is one
that another controller tells, `holes` what all of them do not have); `record`, `gaps`, `wanted` are the nouns.
"""

from extproc.store.exposures.batch import Attempts, Batch
from extproc.store.exposures.file import ExposureFile
from extproc.store.exposures.gaps import Cause, Gap, guessed, instant
from extproc.store.exposures.reading import Listing, Met, Summary
from extproc.store.exposures.record import Exposure, Stray
from extproc.store.exposures.retention import Keep
from extproc.store.exposures.told import Told
from extproc.store.exposures.union import Part, Union
from extproc.store.exposures.wanted import Wanted

__all__ = [
    "Attempts",
    "Batch",
    "Cause",
    "Exposure",
    "ExposureFile",
    "Gap",
    "Keep",
    "Listing",
    "Met",
    "Part",
    "Stray",
    "Summary",
    "Told",
    "Union",
    "Wanted",
    "guessed",
    "instant",
]
