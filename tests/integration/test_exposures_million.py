"""A million exposures, listed in flat memory."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from extproc import contract
from extproc.store.exposures import Batch, ExposureFile, Keep
from tests.support.exposing import ENVIRONMENT, EXTPROC
from tests.support.outcomes import outcome

MILLION = 1_000_000


@pytest.mark.timeout(600)  # 20 s of work, on a machine that may do other things
def test_a_million_lines_in_flat_memory(tmp_path: Path) -> None:
    """The command takes as much memory for a million lines of a million users as for fifty thousand."""
    peaks, seconds = [], 0.0
    for count in (50_000, MILLION):
        store = f"sqlite:{tmp_path}/{count}.db"
        _fill(Path(contract.exposures_path(store)), count)
        began = time.monotonic()
        found, used = _listed(tmp_path, "--store", store)
        seconds = time.monotonic() - began
        assert (tmp_path / "err").read_text().startswith(f"new: {count:,} requests met the canary: {count:,} units, 0 failed")
        assert found == count
        peaks.append(used)
    print(f"{peaks[0]:.0f} MiB for 50,000 lines, {peaks[1]:.0f} MiB for {MILLION:,} in {seconds:.0f} s")
    assert peaks[1] < peaks[0] + 15


def test_two_lists_are_put_together_in_flat_memory(tmp_path: Path) -> None:
    """Four times as long, and what is held is pages and caches: the 60,000 lines more would be 60 MiB. Lines are merged on disk."""
    peaks = []
    for count in (10_000, 40_000):
        stores = [f"sqlite:{tmp_path}/{count}-{name}/x.db" for name in ("one", "two")]
        for store in stores:
            _fill(Path(contract.exposures_path(store)), count)
        found, used = _listed(tmp_path, "--store", stores[0], "--from", contract.exposures_path(stores[1]))
        assert found == 2 * count
        peaks.append(used)
    print(f"{peaks[0]:.0f} MiB for two lists of 10,000 lines, {peaks[1]:.0f} MiB for two of 40,000")
    assert peaks[1] < peaks[0] + 30


def _listed(directory: Path, *words: str) -> tuple[int, float]:
    """How many lines the command gives, and MiB that it has taken."""
    with (directory / "out").open("wb") as out, (directory / "err").open("wb") as errors:
        line = [*EXTPROC, "exposures", "new", *words]
        with subprocess.Popen(line, stdout=out, stderr=errors, env=ENVIRONMENT, cwd=directory) as process:
            _, code, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(code)
    assert process.returncode == 0, (directory / "err").read_text()
    with (directory / "out").open() as file:
        return sum(1 for _ in file) - 1, used.ru_maxrss / 1024


def _fill(path: Path, count: int) -> None:
    """Lines as the controller writes them, repeated with other ids, requests and units."""
    now = time.time()
    file = ExposureFile(path, Keep(), now)
    batch = Batch()
    batch.add(outcome(number, now) for number in range(10_000))
    file.write(batch.lines, (), (), now, 1.0, now)
    file.close(now)
    with closing(sqlite3.connect(path)) as db:
        for copy in range(1, count // 10_000):
            db.execute(
                "INSERT INTO exposures SELECT id + ?1, kind, request || ?1, unit * 7919 + ?1 * 1000003, durable, start, lasted, status,"
                " failed, client_aborted, throttled, input_tokens, cached_tokens, output_tokens, reasoning_tokens FROM exposures"
                " WHERE id <= 10000",
                (copy * 10_000,),
            )
        db.execute("UPDATE book SET last = ?", (count,))
        db.commit()
