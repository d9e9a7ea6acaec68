"""WHAT we want: load, check, JSON Schema. Pure, but for `file`."""

from extproc.spec.blindspots import blind_spots
from extproc.spec.file import beside, read, read_text
from extproc.spec.load import fingerprint, json_schema, load

__all__ = ["beside", "blind_spots", "fingerprint", "json_schema", "load", "read", "read_text"]
