"""The names of the keys below a store's prefix. Who watches reads `state`, `heartbeat` and `leader`, and nothing that changes more often.

| key | value | written |
| --- | --- | --- |
| format | `1` | once |
| unit_key | 32 secret bytes | once |
| state | State as JSON | by commit |
| last | number of the Journal's last entry, and the name of the write | by commit |
| journal/<20 digits> | one entry as JSON | by commit |
| evidence/<rollout#attempt[/row]> | a document | by commit, and each second where it has changed |
| specs/<digest> | a document, never changed | once |
| chunks/<name>/<3 digits> | a part of a long document | before the document's own key |
| heartbeat | number and blind rollouts as JSON | each second |
| leader | name of the controller that leads; its lease is the leader's | by election |
| terms | who led from when as JSON, the newest MOST_TERMS | by each leader, when it begins |
| controllers/<name>, routers/<name> | what a process says of itself; its lease is the process's | by each |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FORMAT: Final = b"1"
_DIGITS: Final = 20


@dataclass(frozen=True, slots=True)
class Layout:
    """Keys below one prefix."""

    prefix: str

    def key(self, name: str) -> bytes:
        """A key, or with a slash at its end the directory of that name."""
        return f"{self.prefix}/{name}".encode()

    def spec(self, digest: str) -> bytes:
        """Of one Spec, or one document of flags."""
        return self.key(f"specs/{digest}")

    def evidence(self, name: str) -> bytes:
        """Of one document of Evidence."""
        return self.key(f"evidence/{name}")

    def journal(self, sequence: int) -> bytes:
        """Of one entry: keys are in the order of their numbers."""
        return self.key(f"journal/{sequence:0{_DIGITS}}")

    def chunks(self, name: str) -> bytes:
        """The directory of one long document's parts."""
        return self.key(f"chunks/{name}/")


def after(directory: bytes) -> bytes:
    """The end of the range of all keys that begin with `directory` (which ends with a slash)."""
    return directory[:-1] + bytes([directory[-1] + 1])
