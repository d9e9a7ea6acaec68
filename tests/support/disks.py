"""Disks that fail for real: full, under a limit, immutable. What this machine cannot do (no privileges in a container) is not offered."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CHUNK = 4096


def can_mount() -> bool:
    """True where a tmpfs can be mounted: root with its privileges."""
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", directory], capture_output=True)
        if done.returncode == 0:
            subprocess.run(["umount", directory], check=True)
    return done.returncode == 0


@contextmanager
def small_disk(size: str = "1m") -> Iterator[Path]:
    """A tmpfs of its own."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", directory], check=True)
        try:
            yield Path(directory)
        finally:
            subprocess.run(["umount", "--lazy", directory], check=True)


@contextmanager
def no_room(directory: Path) -> Iterator[None]:
    """Fill the disk to the last byte; there is room again afterwards."""
    ballast = directory / "ballast"
    opened = os.open(ballast, os.O_CREAT | os.O_WRONLY)
    try:
        with suppress(OSError):
            while os.write(opened, b"x" * CHUNK):
                pass
        yield
    finally:
        os.close(opened)
        ballast.unlink()


@contextmanager
def limited_files(size: int) -> Iterator[None]:
    """No file of this process grows beyond `size` bytes; needs no privilege."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def can_make_immutable(directory: Path) -> bool:
    """True where `chattr +i` works."""
    probe = directory / "probe"
    probe.touch()
    try:
        with immutable(probe):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False
    finally:
        probe.unlink()


@contextmanager
def immutable(*paths: Path) -> Iterator[None]:
    """Files that not even root may write, whoever has them open."""
    command = shutil.which("chattr")
    if command is None:
        raise FileNotFoundError("chattr")
    subprocess.run([command, "+i", *map(str, paths)], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run([command, "-i", *map(str, paths)], check=True)


@contextmanager
def somebody_else() -> Iterator[None]:
    """Without root's privileges over files; those who have none stay who they are."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
