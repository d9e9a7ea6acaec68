"""Beyond one machine: etcd, controllers, routers, Envoys in network namespaces under load, while parts die, freeze or are cut off.

The whole of it, with its figures, is `make proof SECTIONS=fleet`; here are the three that have broken others.
"""

from __future__ import annotations

import asyncio
import os
import shutil

import pytest

from extproc.demo.processes import DemoError
from loadtest.fleet import faults
from loadtest.fleet.network import IP, Network
from tests.support.lateness import lateness

FAULTS = ("kill_the_leader", "cut_a_router_off", "freeze_the_leader")
RATE = 6.0


@pytest.fixture(scope="module")
def networks() -> None:
    """Namespaces can be made here. A program that is missing is a failure in CI: Debian has it, and nothing else tries these faults. A
    machine whose kernel refuses (nobody's root, a container without the privilege) says so as the reason of the skip."""
    if shutil.which(IP) is None:
        missing = f"{IP} is missing: apt-get install iproute2"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root's privileges")
    try:
        with Network() as network:
            network.machine("probe")
    except DemoError as error:
        pytest.skip(f"network namespaces cannot be made: {error}")


@pytest.mark.usefixtures("networks")
@pytest.mark.timeout(400)
def test_no_client_notices_and_no_decision_is_lost_or_made_twice() -> None:
    """Somebody leads again within the lease and a few seconds; after a decision nobody is sent to the canary for longer than a second, by
    a router that is cut off for longer than its watch lease; the Journal has every act once."""
    with lateness() as machine:
        # Controller, etcd and router may be late one after the other.
        seen, problems, requests = asyncio.run(faults.measure(RATE, FAULTS, lambda: 3 * machine.worst))
    assert not problems
    assert [one.what for one in seen] == [faults.FAULTS[name][0] for name in FAULTS]
    assert requests > 200
    assert all(one.led < 60.0 for one in seen)
    assert seen[1].cut_off > 0.0, "the router that was cut off had not been asked"
