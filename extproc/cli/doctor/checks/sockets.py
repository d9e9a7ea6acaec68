"""Sockets: the workers' and the collector's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from extproc.cli.doctor.findings import Finding, Topic
from extproc.cli.doctor.seen import EndpointSeen, Seen

TOPIC = Topic("Sockets")
TEXTS: Final = {
    "missing": ("there is no such socket", "is the process running? Does it have the same --listen (--collector), --workers as here?"),
    "no-socket": ("is no socket", "remove the file; who put it there?"),
    "stale": (
        "nobody listens: the file was left by a process that was killed",
        "start the process again (it replaces the file); where a supervisor runs, look at its log",
    ),
    "refused": ("nobody listens", "is the process running? Does it have the same --listen, --workers as here?"),
    "forbidden": ("we may not connect", "run doctor as root, or as a user of the socket's group; --socket-owner gives it to Envoy's"),
    "silent": (
        "somebody listens and does not answer",
        "a stopped or overloaded process: the supervisor replaces a hung worker within 6 s; is it stopped itself?",
    ),
    "not-serving": ("says NOT_SERVING", "it is draining: nothing is to be done, unless it stays so"),
    "unreachable": ("cannot be reached", "is the address right, and the way to it open?"),
}
OTHERS: Final = 0o007


def sockets(seen: Seen) -> Iterator[Finding]:
    """Somebody answers on each of them, and not everybody may ask."""
    for one in (*seen.workers, seen.collector):
        yield _answers(one)
        if one.mode is not None and one.mode & OTHERS and one.problem in ("", "silent", "not-serving"):
            said = f"{one.name}: {one.address} is open to every user of this machine (mode {one.mode:04o})"
            yield TOPIC.note("socket.open", said, "mode 0660 is what the router makes; for the collector, protect its directory")


def _answers(one: EndpointSeen) -> Finding:
    where = f"{one.name}: {one.address}"
    whose = f" ({one.owner}, mode {one.mode:04o})" if one.mode is not None else ""
    if not one.problem:
        return TOPIC.well(f"socket.{one.name.partition(' ')[0]}", f"{where} answers{whose}")
    if one.problem == "tls":
        return TOPIC.note(
            "socket.tls", f"{where}{whose} speaks TLS", "its health is asked with Envoy's certificate, by Envoy: see Envoy above"
        )
    text, do = TEXTS[one.problem]
    detail = f" ({one.detail})" if one.detail else ""
    return TOPIC.wrong(f"socket.{one.problem}", f"{where}{whose}: {text}{detail}", do)
