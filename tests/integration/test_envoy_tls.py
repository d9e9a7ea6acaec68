"""Mutual TLS between the real Envoy and a router, as `extproc render envoy --router-ca ...` writes it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import trustme

from extproc import contract
from extproc.transport import TransportName
from tests.support import certificates
from tests.support.envoy_stand import PATIENCE, Model, a_rollout, document, standing

USERS = [f"user-{number}" for number in range(20)]


@pytest.mark.parametrize("transport", list(TransportName))
def test_envoy_and_router_know_each_other_by_certificate(transport: TransportName, tmp_path: Path) -> None:
    """Every request is decided; after a rotation of the router's certificate, and on new connections, they still are."""
    authority = trustme.CA()
    files = certificates.write(tmp_path / "files", authority)
    models = {name: Model(name) for name in ("old", "new")}
    spec = document(
        {"kind": "edge", "set_by": {"x-user-id": "the test"}},
        {name: {"endpoint": model.endpoint} for name, model in models.items()},
        {"chat": a_rollout("50%", {"paths": ["/v1/"]})},
    )
    with standing(spec, models, tmp_path, files=files, transport=transport) as stand:
        before = {user: stand.answered(x_user_id=user) for user in USERS}
        assert set(before.values()) == {"old", "new"}
        certificates.write(tmp_path / "files", authority)
        (worker,) = stand.workers()
        time.sleep(1.2)  # the router looks at its files once a second
        os.kill(worker, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while stand.workers() in ([], [worker]) or stand.stat(f"{contract.ROUTER_CLUSTER}.membership_healthy") < 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        # Envoy looks each half second: what it said of the worker may be of the one before.
        while {user: stand.answered(x_user_id=user) for user in USERS} != before:
            assert time.monotonic() < deadline
        assert stand.stat("ssl.fail_verify_san") == stand.stat("ssl.fail_verify_error") == 0
        assert stand.stat(f"{contract.ROUTER_CLUSTER}.ssl.handshake") >= 2


def test_envoy_does_not_trust_another_router(tmp_path: Path) -> None:
    """A router with a certificate of somebody else decides nothing: requests go to stable."""
    files = certificates.write(tmp_path / "files")
    foreign = certificates.write(tmp_path / "foreign")
    models = {name: Model(name) for name in ("old", "new")}
    spec = document(
        {"kind": "edge", "set_by": {"x-user-id": "the test"}},
        {name: {"endpoint": model.endpoint} for name, model in models.items()},
        {"chat": a_rollout("50%", {"paths": ["/v1/"]})},
    )
    with standing(spec, models, tmp_path, files=files) as stand:
        assert {stand.answered(x_user_id=user) for user in USERS} == {"old", "new"}
        for name in ("server.pem", "server.key"):
            (files.directory / name).write_bytes((foreign.directory / name).read_bytes())
        time.sleep(1.2)
        for worker in stand.workers():
            os.kill(worker, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while not stand.stat(f"{contract.ROUTER_CLUSTER}.ssl.fail_verify_error"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert {stand.answered(x_user_id=user) for user in USERS} == {"old"}
