"""The release folder: everything that a release needs around extproc, made from a Spec. Pure: `files(spec)` is path -> text.

Each part is a sub-package with one public function `files(spec)`; `folder` puts them together, adds a README and a manifest, and `drift`
says what became of a folder since. The same Spec gives the same bytes.
"""

from extproc.plan.drift import Drift, DriftKind, blocking, drift, known_paths
from extproc.plan.folder import README, files
from extproc.plan.manifest import MANIFEST

__all__ = ["MANIFEST", "README", "Drift", "DriftKind", "blocking", "drift", "files", "known_paths"]
