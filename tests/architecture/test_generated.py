"""What is generated is what would be generated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_messages_are_what_the_protos_say(tmp_path: Path) -> None:
    """extproc/pb equals a fresh run of grpcio-tools over protos/ (`make protos`)."""
    protos = sorted(str(path) for path in (ROOT / "protos").rglob("*.proto"))
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        "-I",
        str(ROOT / "protos"),
        f"--python_out={tmp_path}",
        f"--pyi_out={tmp_path}",
        *protos,
    ]
    subprocess.run(command, check=True)
    fresh = {path.name: path.read_text() for path in (tmp_path / "extproc/pb").iterdir()}
    committed = {path.name: path.read_text() for path in (ROOT / "extproc/pb").iterdir() if path.suffix in (".py", ".pyi")}
    committed.pop("__init__.py")
    assert committed == fresh


def test_our_messages_are_in_our_own_package() -> None:
    """They can live in one process with xds-protos, which owns the names envoy.*."""
    for path in (ROOT / "protos").rglob("*.proto"):
        assert "\npackage extproc.pb;\n" in path.read_text(), path


def test_the_lock_names_versions_and_no_addresses() -> None:
    """A lock file pins by name; where packages come from is the machine's business."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert lines
    for line in lines:
        assert "==" in line, line
        assert "://" not in line, line
        assert " @ " not in line, line
