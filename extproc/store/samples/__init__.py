"""Samples: redacted copies of some answers, and what judges say of them; a file beside the store, written by the judge's process.

Who decides reads the scores alone (`ScoreLog`); people read the texts. Everything has a retention, and `forget` takes a unit's out at once.
"""

from extproc.store.samples.file import SampleFile
from extproc.store.samples.kept import Kept
from extproc.store.samples.people import forget, label
from extproc.store.samples.reading import SampleReader, ScoreLog

__all__ = ["Kept", "SampleFile", "SampleReader", "ScoreLog", "forget", "label"]
