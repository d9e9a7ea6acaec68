"""What each Envoy has said, and which configuration it is to have. No I/O.

*Last good kept on NACK.* The configuration that a Spec makes is offered to every Envoy. From the first refusal of any part of it on, an
Envoy gets it only if it had accepted all of it before; everybody else gets, or goes back to, the last one that some Envoy accepted as a
whole, until the Spec changes. Where there is none (the first Spec since this controller began), what is refused is left as it is: Envoy
itself keeps what it had, and the good parts of what is new.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from extproc.controller.xds.resources import Resources
from extproc.controller.xds.stream import Refusal, Stream
from extproc.domain import Spec
from extproc.render.discovered import Part

MOST_NODES: Final = 10_000
"""Envoys that are remembered; of those that are away the one that left first is forgotten."""
LONGEST_WHY: Final = 2_000
"""Characters of a refusal that are kept."""


@dataclass(slots=True)
class Offer:
    """Configurations for Envoys of the same settings."""

    spec: Spec
    """The one in force, as far as a configuration can be made from it."""
    new: Resources
    refused: Refusal | None = None
    """The first refusal of what is new."""
    refused_by: str = ""
    """Name of that Envoy."""
    good_spec: Spec | None = None
    """The last one whose configuration was accepted as a whole; None before there is one."""
    good: Resources | None = None

    @property
    def digest(self) -> str:
        """Names what is new."""
        return self.spec.digest

    def aim_of(self, has_all: str) -> tuple[str, Resources]:
        """(digest, resources) for an Envoy that had accepted all of the configuration of this digest."""
        if self.refused is None or self.good_spec is None or self.good is None or has_all == self.digest:
            return self.digest, self.new
        return self.good_spec.digest, self.good


@dataclass(slots=True, eq=False)
class Node:
    """One Envoy, by the id in its bootstrap."""

    id: str
    since: float
    """Unix seconds: when its stream began, or the last one ended."""
    stream: Stream | None
    """None while it is away."""
    offer: Offer
    digest: str = ""
    """Of the Spec whose configuration it is to have."""
    has_all: str = ""
    """Of the last Spec of which it has accepted everything."""
    accepted: dict[Part, str] = field(default_factory=dict)
    refusal: Refusal | None = None
    """Why it is not on what the Spec says."""

    def document(self, now: float) -> dict[str, Any]:
        """For `status`."""
        refusal = self.refusal
        return {
            "node": self.id,
            "connected": self.stream is not None,
            "seconds": now - self.since,
            "protocol": ("delta" if self.stream.delta else "state of the world") if self.stream is not None else None,
            "spec_digest": self.has_all,
            "versions": {part.value: version for part, version in self.accepted.items()},
            "refused": None
            if refusal is None
            else {"part": refusal.part.value, "version": refusal.version, "why": refusal.why[:LONGEST_WHY], "at": refusal.at},
        }


class Fleet:
    """All Envoys that this controller has heard of."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}

    def joins(self, name: str, stream: Stream, offer: Offer, now: float) -> Node:
        """A stream begins. A newer one takes the place of an older one of the same name."""
        before = self.nodes.pop(name, None)
        node = Node(name, now, stream, offer)
        if before is not None:
            node.refusal, node.accepted = before.refusal, before.accepted
            node.has_all = before.has_all if before.offer is offer else ""
        self.nodes[name] = node
        self._forget()
        self.aim(node)
        return node

    def leaves(self, node: Node, now: float) -> None:
        """Its stream has ended."""
        if self.nodes.get(node.id) is node:
            node.stream, node.since = None, now

    def aim(self, node: Node) -> None:
        """Have it get what it is to have by now."""
        if node.stream is not None:
            node.digest, target = node.offer.aim_of(node.has_all)
            if node.digest == node.offer.digest and node.offer.refused is None:
                node.refusal = None
            node.stream.aim(target)

    def follow(self, node: Node) -> bool:
        """After its stream has heard something. True where others are to be aimed anew."""
        stream, offer = node.stream, node.offer
        if stream is None:
            return False
        node.accepted = node.accepted | stream.accepted
        if stream.refusal is not None:
            node.refusal = stream.refusal
            if node.digest == offer.digest and offer.refused is None:
                offer.refused, offer.refused_by = stream.refusal, node.id
                return True
        elif stream.complete:
            node.has_all = node.digest
            if node.digest == offer.digest and offer.refused_by == node.id:
                # What was wrong was no part of the Spec, and is not there any more: endpoints of a file.
                offer.refused, offer.refused_by = None, ""
            if node.digest == offer.digest and offer.refused is None:
                node.refusal, offer.good_spec, offer.good = None, offer.spec, offer.new
        return False

    def _forget(self) -> None:
        if len(self.nodes) > MOST_NODES:
            away = next((name for name, node in self.nodes.items() if node.stream is None), None)
            if away is not None:
                del self.nodes[away]
