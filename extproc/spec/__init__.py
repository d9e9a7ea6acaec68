"""WHAT we want: load, check, JSON Schema. Pure: the caller reads the file."""

from extproc.spec.blindspots import blind_spots
from extproc.spec.load import fingerprint, json_schema, load

__all__ = ["blind_spots", "fingerprint", "json_schema", "load"]
