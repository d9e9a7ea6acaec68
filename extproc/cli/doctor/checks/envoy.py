"""Envoy: version, how many requests it decides without us, its view of the router's endpoints."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from extproc import contract
from extproc.cli.doctor.compare import dumped
from extproc.cli.doctor.findings import Finding, Topic
from extproc.cli.doctor.seen import EnvoySeen, Failed, Seen
from extproc.render import Profile

TOPIC = Topic("Envoy")
OLDEST: Final = (1, 36)
NEWEST: Final = (1, 40)
"""Versions between these were run; the full profile needs the newest."""
TOLERATED: Final = 0.01
"""Share of requests decided without us above which something is wrong."""
BREAKERS: Final = ("rq_open", "rq_pending_open", "rq_retry_open", "cx_open")


def envoy(seen: Seen) -> Iterator[Finding]:
    """Reachable, known, asking us, and sure that we are well."""
    there = seen.envoy
    if there is None:
        yield TOPIC.unseen(
            "envoy.not-asked", "Envoy was not looked at", "run doctor where Envoy's admin port is, or give --envoy-admin URL"
        )
    elif isinstance(there, Failed):
        what = (
            "it listens and does not answer: is the process stopped?" if there.silent else "is Envoy running? Is its admin port this one?"
        )
        do = f'{what} Give it with --envoy-admin URL, or --envoy-admin "" where it is on another machine'
        yield TOPIC.wrong("envoy.unreachable", f"{there.address}: {there.why}", do)
    else:
        yield _version(there)
        yield from _decisions(seen, there)
        yield from _endpoints(seen, there)
        yield from _breakers(there)


def _version(there: EnvoySeen) -> Finding:
    text = str(there.server.get("version", ""))
    found = re.search(r"/(\d+)\.(\d+)\.(\d+)", text)
    said = f"{there.address}: {found[0][1:] if found else text or 'no version'}, {there.server.get('state', 'state unknown')}"
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    full = dumped(there.config, ()).profile is Profile.FULL
    if there.server.get("state") != "LIVE":
        return TOPIC.wrong("envoy.state", said, "it takes no traffic: is it starting, draining, or waiting for its control plane?")
    if not found:
        return TOPIC.note("envoy.version", said, "extproc knows Envoy 1.36 to 1.40")
    if version < OLDEST:
        return TOPIC.wrong("envoy.version", said, "extproc needs Envoy 1.36 or newer: upgrade it")
    if full and version < NEWEST:
        return TOPIC.wrong("envoy.version", said, "its configuration was rendered for 1.40: render again with --profile core, or upgrade")
    if version > NEWEST:
        do = "newer than what extproc was run with (1.36 to 1.40): `envoy --mode validate`, and watch the rest of this list"
        return TOPIC.note("envoy.version", said, do)
    return TOPIC.well("envoy.version", said)


def _decisions(seen: Seen, there: EnvoySeen) -> Iterator[Finding]:
    asked, allowed = requests(there.after) - requests(there.before), _grown(there, ".ext_proc.failure_mode_allowed")
    timeouts, failed = _grown(there, ".ext_proc.message_timeouts"), _grown(there, ".ext_proc.streams_failed")
    total, total_allowed = requests(there.after), total_of(there.after, ".ext_proc.failure_mode_allowed")
    ever = f"since Envoy started {total_allowed:,} of {total:,}"
    if not total:
        do = "does traffic reach the listener, and is the ext_proc filter in its chain? See Configuration below"
        yield TOPIC.note("envoy.decisions", "Envoy has asked for no decision yet", do)
    elif not asked:
        yield TOPIC.note("envoy.decisions", f"no requests within {seen.seconds:.0f} s; {ever} went on without a decision")
    elif allowed > TOLERATED * asked:
        why = f"{timeouts:,} timeouts, {failed:,} failed streams"
        said = f"{allowed:,} of {asked:,} requests within {seen.seconds:.0f} s went to stable without a decision ({why}); {ever}"
        do = "look at Sockets and at the router's endpoints: dead or silent workers, a socket that Envoy may not open, too few CPUs"
        yield TOPIC.wrong("envoy.fail-open", said, do)
    else:
        yield TOPIC.well("envoy.decisions", f"{asked:,} requests within {seen.seconds:.0f} s, {allowed:,} without a decision; {ever}")


def _endpoints(seen: Seen, there: EnvoySeen) -> Iterator[Finding]:
    cluster = next((one for one in there.clusters.get("cluster_statuses", ()) if one["name"] == contract.ROUTER_CLUSTER), None)
    if cluster is None:
        do = "its configuration is not ours: `extproc render envoy`, see Configuration below"
        yield TOPIC.wrong("envoy.no-router", f"there is no cluster {contract.ROUTER_CLUSTER}", do)
        return
    hosts = {_address(host["address"]): host.get("health_status", {}) for host in cluster.get("host_statuses", ())}
    sick = {address: _ailment(health) for address, health in hosts.items() if _ailment(health)}
    for address, ailment in sorted(sick.items()):
        do = "look at this endpoint under Sockets; if that is well, may Envoy's user open it (--socket-owner)?"
        yield TOPIC.wrong("envoy.endpoint", f"{address}: Envoy says {ailment}", do)
    if not sick:
        yield TOPIC.well("envoy.endpoints", f"{len(hosts)} of {len(hosts)} router endpoints are healthy")
    wanted = set(contract.endpoints(seen.asked.listen, seen.asked.workers))
    if wanted != set(hosts):
        said = f"Envoy knows {_list(hosts)}; --listen and --workers mean {_list(wanted)}"
        yield TOPIC.wrong("envoy.other-endpoints", said, "render Envoy's configuration with the router's own --listen and --workers")


def _breakers(there: EnvoySeen) -> Iterator[Finding]:
    prefix = f"cluster.{contract.ROUTER_CLUSTER}."
    opened = [name for name in BREAKERS if there.after.get(f"{prefix}circuit_breakers.default.{name}")]
    # 1.40 counts what goes beyond max_requests by the first name, 1.36 by the second.
    names = ("upstream_rq_active_overflow", "upstream_rq_pending_overflow", "upstream_cx_overflow", "upstream_rq_retry_overflow")
    grown = sum(there.after.get(prefix + name, 0) - there.before.get(prefix + name, 0) for name in names)
    if opened or grown > 0:
        said = f"circuit breaker of the router: {', '.join(opened) or 'closed again'}, {grown:,} requests refused during the sample"
        yield TOPIC.wrong("envoy.breaker", said, "these requests go to stable: more --workers, or look for what makes the workers slow")
    else:
        yield TOPIC.well("envoy.breaker", "circuit breaker of the router is closed")


def _grown(there: EnvoySeen, suffix: str) -> int:
    return total_of(there.after, suffix) - total_of(there.before, suffix)


def total_of(stats: Mapping[str, int], suffix: str) -> int:
    """The sum over all connection managers."""
    return sum(value for name, value in stats.items() if name.endswith(suffix))


def requests(stats: Mapping[str, int]) -> int:
    """Requests for which a decision was wanted. A stream that could not be opened is closed without having been started (seen on 1.40),
    one that is open is started and not yet closed."""
    return max(total_of(stats, f".ext_proc.{name}") for name in ("streams_started", "streams_closed", "failure_mode_allowed"))


def _address(address: Any) -> str:
    if "pipe" in address:
        return f"unix:{address['pipe']['path']}"
    where = address["socket_address"]
    return f"{where['address']}:{where['port_value']}"


def _ailment(health: Any) -> str:
    words = [name.removeprefix("failed_").replace("_", " ") for name, value in health.items() if name.startswith("failed_") and value]
    if health.get("eds_health_status", "HEALTHY") not in ("HEALTHY", "UNKNOWN"):
        words.append(health["eds_health_status"])
    return " and ".join(words) + (" failed" if words else "")


def _list(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"
