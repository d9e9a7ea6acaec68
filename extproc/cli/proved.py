"""The file of proofs beside a Spec: `release.yaml` has `release.proof.json`."""

from __future__ import annotations

from pathlib import Path

import orjson

from extproc.errors import Problem, SettingsError
from extproc.release import proofs
from extproc.release.simulate import Proof


def beside(spec: Path) -> Path:
    """Where a Spec's proofs are."""
    return spec.with_suffix(".proof.json")


def read(spec: Path) -> dict[str, Proof]:
    """What is known; nothing where there is no file. Raises SettingsError for a file that is no such document."""
    path = beside(spec)
    if not path.exists():
        return {}
    try:
        return proofs.from_json(orjson.loads(path.read_bytes()))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        hint = "delete it, and run `extproc prove` again"
        raise SettingsError(Problem("settings.bad-proofs", str(path), f"is no file of proofs ({type(error).__name__})", hint)) from error


def text(known: dict[str, Proof]) -> str:
    """What is written."""
    return orjson.dumps(proofs.to_json(known), option=orjson.OPT_INDENT_2).decode() + "\n"
