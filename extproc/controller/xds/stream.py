"""One ADS stream: what has been asked, what the other side has, and what may be sent now. No I/O: time is an argument.

Rules, of both protocols (state of the world, and delta):
* At most one answer of a kind is on its way; the next one waits until that is accepted (ACK) or refused (NACK). An answer to an older
  nonce says nothing. What was refused is not sent again until it has changed.
* Make before break: clusters, their endpoints and secrets, listeners, routes; only when all of these are accepted do clusters go that
  nobody needs any more. What a cluster asks for is answered at once, and the processor's settings wait for nothing: they are the off
  switch.
* A cluster that was added is of use when what it refers to was asked for and accepted, and its name was looked up: routes wait for that,
  PATIENCE seconds at most. A cluster that changed begins anew, and needs its endpoints again although they are the same (Envoy does not
  ask twice for a name that it has asked for).
* Versions are digests: after a restart of ours they are what they were, and whoever has everything is sent nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from extproc.controller.xds.resources import NOTHING, VERSION_DIGITS, Resource, Resources
from extproc.render.discovered import Part

LOOKUP: Final = 1.0
"""Seconds that Envoy is given to look up the name of a new cluster before a route may lead there: nothing tells us when it has."""
PATIENCE: Final = 5.0
"""Seconds for which routes wait for references that are not asked for, as of a client that needs fewer than Envoy does."""
WHOLE: Final = (Part.CLUSTER, Part.LISTENER)
"""Kinds of which everything can be asked for; of the others, names."""
EVERYTHING: Final = "*"
LEADING: Final = (Part.LISTENER, Part.ROUTES)
"""What leads to clusters."""
NEEDED_BY_CLUSTERS: Final = (Part.ENDPOINTS, Part.SECRET)
"""What is asked for of these is answered at once: a cluster waits for it."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A request, of either protocol."""

    part: Part
    nonce: str
    """Of the answer that it speaks of; "" where it speaks of none."""
    refused: str | None = None
    """Why that answer is refused; None where it is not."""
    names: frozenset[str] = frozenset()
    """State of the world: all names that are wanted. Delta: those that are wanted from now on as well."""
    unwanted: frozenset[str] = frozenset()
    """Delta: names that are wanted no more."""
    version: str = ""
    """State of the world: what the other side has."""
    has: Mapping[str, str] = field(default_factory=dict)
    """Delta, first request: what it has, name -> version."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to be sent."""

    part: Part
    nonce: str
    version: str
    resources: tuple[Resource, ...]
    removed: tuple[str, ...] = ()
    """Delta alone: names that are no more."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The other side would not have an answer."""

    part: Part
    version: str
    why: str
    at: float


@dataclass(slots=True)
class _Kind:
    """What was said about one kind of resources."""

    asked: bool = False
    everything: bool = False
    names: set[str] = field(default_factory=set)
    has: dict[str, str] = field(default_factory=dict)
    """Name -> version, as far as it was sent or told."""
    kept: dict[str, Resource] = field(default_factory=dict)
    """What was accepted last of each name."""
    refused: dict[str, str] = field(default_factory=dict)
    """Name -> version that came in an answer which was refused."""
    fresh: set[str] = field(default_factory=set)
    """Delta: names that were just asked for; where there is nothing of that name, that is said."""
    again: set[str] = field(default_factory=set)
    """Names that are needed once more, whatever it has."""
    waiting: Reply | None = None
    """On its way, neither accepted nor refused."""
    nonce: str = ""
    accepted: str = ""
    """Version of the last answer that was accepted, or that it came with."""
    urgent: bool = False
    """Something was asked for that was not answered yet."""
    silent: bool = True
    """Nothing was ever sent."""

    def wants(self, name: str) -> bool:
        return self.everything or name in self.names

    def lacks(self, one: Resource) -> bool:
        """True where it must be sent."""
        return one.name in self.again or (self.has.get(one.name) != one.version and self.refused.get(one.name) != one.version)


class Stream:
    """What one side of a stream has to know about the other."""

    def __init__(self, delta: bool) -> None:
        self.delta = delta
        self.refusal: Refusal | None = None
        """The last one, of what it is aimed at; None where nothing of that is refused."""
        self._kinds = {part: _Kind() for part in Part}
        self._target: Resources = NOTHING
        self._sent = 0
        self._looked_up_at = 0.0
        self._patient_until = 0.0

    # ------------------------------------------------------------------------------------------------------------------ inward
    def aim(self, target: Resources) -> None:
        """From now on it is to have this."""
        if target is not self._target:
            self._target = target
            self.refusal = None

    def hear(self, heard: Heard, now: float) -> None:
        """A request has come."""
        kind = self._kinds[heard.part]
        if not any(one.asked for one in self._kinds.values()):
            self._patient_until = now + PATIENCE
        if not self.delta and heard.nonce != kind.nonce:
            return
        if heard.nonce and kind.waiting is not None and heard.nonce == kind.nonce:
            self._answered(kind, kind.waiting, heard.refused, now)
        first, kind.asked = not kind.asked, True
        if self.delta:
            self._wanted_too(kind, heard, first)
        else:
            self._wanted(kind, heard, first)

    def _answered(self, kind: _Kind, reply: Reply, refused: str | None, now: float) -> None:
        kind.waiting = None
        versions = {one.name: one.version for one in reply.resources}
        if refused is not None:
            self.refusal = Refusal(reply.part, reply.version, refused, now)
            kind.refused |= versions
            for name in versions:
                kind.has.pop(name, None)
        else:
            kind.accepted = reply.version
            kind.kept |= {one.name: one for one in reply.resources}
            for name in versions:
                kind.refused.pop(name, None)
        if reply.part is Part.CLUSTER:
            self._patient_until = now + PATIENCE
            if self._looked_up_at < 0:
                self._looked_up_at = now + LOOKUP

    def _wanted(self, kind: _Kind, heard: Heard, first: bool) -> None:
        """State of the world: `names` are all that it wants; none at all, in a first request for it: everything."""
        everything = heard.part in WHOLE and (EVERYTHING in heard.names or (not heard.names and (first or kind.everything)))
        new = (everything and not kind.everything) or bool(heard.names - kind.names)
        kind.everything, kind.names = everything, set(heard.names)
        if not everything:
            kind.has = {name: version for name, version in kind.has.items() if name in kind.names}
        if first and heard.version:
            present = {one.name: one for one in self._present(heard.part, kind)}
            if heard.version == set_version(present.values()):
                kind.has = {name: one.version for name, one in present.items()}
                kind.kept, kind.accepted, kind.silent = present, heard.version, False
        # Who comes again has something that is good until its turn.
        kind.urgent |= new and not (first and heard.version)

    def _wanted_too(self, kind: _Kind, heard: Heard, first: bool) -> None:
        """Delta: a name that is asked for again is to be sent again."""
        everything = heard.part in WHOLE and (EVERYTHING in heard.names or (first and not heard.names))
        if first and heard.has:
            kind.has = dict(heard.has)
            kind.silent = False
            kind.accepted = self.version(heard.part) if all(not kind.lacks(one) for one in self._present(heard.part, kind)) else ""
        for name in heard.names if not first else ():
            kind.has.pop(name, None)
            kind.refused.pop(name, None)
        for name in heard.unwanted:
            kind.has.pop(name, None)
        kind.fresh = ((kind.fresh | heard.names) - heard.unwanted - {EVERYTHING}) if not heard.has else kind.fresh
        kind.everything = (kind.everything or everything) and EVERYTHING not in heard.unwanted
        kind.names = (kind.names | heard.names) - heard.unwanted - {EVERYTHING}
        kind.urgent |= not heard.has if first else bool(heard.names)

    # ----------------------------------------------------------------------------------------------------------------- outward
    def due(self, now: float) -> list[Reply]:
        """What is to be sent now."""
        replies, held = [], False
        early = self._kinds[Part.CLUSTER].asked and (self._unmet(Part.CLUSTER, now) or self._looking_up(now))
        for part, kind in self._kinds.items():
            if not kind.asked:
                continue
            at_once = part is Part.PROCESSOR or (kind.urgent and part in NEEDED_BY_CLUSTERS)
            in_turn = not held and not (early and part in LEADING)
            if kind.waiting is None and (in_turn or at_once):
                reply = self._next(part, kind, last=False)
                if reply is not None:
                    replies.append(reply)
            held |= kind.waiting is not None or self._lacking(part, kind)
        clusters = self._kinds[Part.CLUSTER]
        if not held and not early and clusters.asked and not self._unmet(Part.LISTENER, now):
            reply = self._next(Part.CLUSTER, clusters, last=True)
            if reply is not None:
                replies.append(reply)
        return replies

    def wake_at(self, now: float) -> float | None:
        """When `due` may say something else without anything having happened; None: never."""
        times = [at for at in (self._looked_up_at, self._patient_until) if at > now]
        return min(times) if times else None

    @property
    def complete(self) -> bool:
        """True where all that it asked for is there, as it is meant to be, and accepted."""
        asked = [(part, kind) for part, kind in self._kinds.items() if kind.asked]
        settled = all(kind.waiting is None and not self._lacking(part, kind) for part, kind in asked)
        refused = any(kind.refused.get(one.name) == one.version for part, kind in asked for one in self._present(part, kind))
        return settled and not refused and self._kinds[Part.LISTENER].asked and self._kinds[Part.ROUTES].asked

    @property
    def accepted(self) -> dict[Part, str]:
        """Version of each kind that it has: of all that there is of it, where it has that; else of the last answer that it accepted."""
        found = {}
        for part, kind in self._kinds.items():
            if kind.accepted:
                settled = kind.waiting is None and all(kind.has.get(one.name) == one.version for one in self._present(part, kind))
                found[part] = self.version(part) if settled else kind.accepted
        return found

    def version(self, part: Part) -> str:
        """Version of everything of a kind."""
        return set_version(self._target.get(part, {}).values())

    def _present(self, part: Part, kind: _Kind) -> list[Resource]:
        return [one for name, one in self._target.get(part, {}).items() if kind.wants(name)]

    def _lacking(self, part: Part, kind: _Kind) -> bool:
        return any(kind.lacks(one) for one in self._present(part, kind))

    def _next(self, part: Part, kind: _Kind, last: bool) -> Reply | None:
        """The next answer of a kind, counted as sent; None where there is nothing to say. `last`: what nobody needs goes as well."""
        present = {one.name: one for one in self._present(part, kind)}
        goes = part in WHOLE and (last or part is not Part.CLUSTER)
        leftover = [name for name in dict.fromkeys((*kind.has, *kind.refused)) if name not in present] if part in WHOLE else []
        changed = [one for one in present.values() if kind.lacks(one)]
        missing = sorted(kind.fresh - present.keys())
        first = kind.silent and kind.urgent and part in WHOLE
        kind.urgent = False
        kind.fresh.clear()
        if not (changed or missing or first or (goes and leftover)):
            return None
        if part is Part.CLUSTER:
            self._begun_anew(kind, changed)
        removed = [*missing, *(leftover if goes else [])]
        if not goes and not self.delta:
            # The whole is sent: what is still needed must be in it.
            present = {name: kind.kept[name] for name in leftover if name in kind.kept} | present
        sent = tuple(changed) if self.delta else tuple(present.values())
        return self._send(part, kind, Reply(part, "", "", sent, tuple(removed) if self.delta else ()), leftover if goes else ())

    def _send(self, part: Part, kind: _Kind, reply: Reply, gone: Iterable[str]) -> Reply:
        self._sent += 1
        version = self.version(part) if self.delta else set_version(reply.resources)
        reply = Reply(part, str(self._sent), version, reply.resources, reply.removed)
        for name in gone:
            for of_name in (kind.has, kind.kept, kind.refused):
                of_name.pop(name, None)
        for one in reply.resources:
            kind.has[one.name] = one.version
            kind.again.discard(one.name)
        kind.waiting, kind.nonce, kind.silent = reply, reply.nonce, False
        return reply

    def _begun_anew(self, kind: _Kind, changed: Iterable[Resource]) -> None:
        """Clusters that are made anew when this is sent."""
        for one in changed:
            self._kinds[Part.ENDPOINTS].again.add(one.name)
            if one.looked_up and one.name not in kind.has:
                # Negative until the answer is accepted.
                self._looked_up_at = -1.0

    def _looking_up(self, now: float) -> bool:
        """At its first start Envoy asks for no listener before that, and there are no routes yet."""
        return bool(self._kinds[Part.ROUTES].accepted) and (self._looked_up_at < 0 or now < self._looked_up_at)

    def _unmet(self, part: Part, now: float) -> bool:
        """True while what is there of a kind, or is to be, refers to what was not asked for yet."""
        kind = self._kinds[part]
        if now >= self._patient_until:
            return False
        good = (one for one in self._present(part, kind) if kind.refused.get(one.name) != one.version)
        needs = (need for one in good for need in one.needs)
        return not kind.asked or any(name in self._target.get(of, {}) and not self._kinds[of].wants(name) for of, name in needs)


def set_version(resources: Iterable[Resource]) -> str:
    """Version of a set: of its names and versions, whatever their order."""
    lines = sorted(f"{one.name} {one.version}" for one in resources)
    return sha256("\n".join(lines).encode()).hexdigest()[:VERSION_DIGITS]
