"""What a fact of a request is called in a flag: an attribute's name that means the same to every vendor, and to nobody anything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from extproc.domain import Fact, FactKind, Spec
from extproc.errors import Problem

_WORDS: Final[Mapping[FactKind, str]] = {FactKind.MODEL: "model", FactKind.PATH: "path"}
_CLAIM: Final = "claim_"
_PREFIXES: Final[Mapping[FactKind, str]] = {FactKind.COOKIE: "cookie_", FactKind.CLAIM: _CLAIM}
_VENDORS: Final = frozenset(("key", "kind", "name", "anonymous", "_meta", "id", "environment", "properties"))
"""Names that mean something of their own to a vendor and that a header can have: LaunchDarkly's, GrowthBook's, Unleash's."""


class Names:
    """Attribute names of one rollout; no two facts have the same."""

    def __init__(self, spec: Spec, path: str, problems: list[Problem]) -> None:
        identity = spec.identity
        self._identity = {
            identity.tier_header: "tier",
            identity.country_header: "country",
            identity.region_header: "region",
            identity.asn_header: "asn",
        }
        self._taken = {*self._identity.values(), *_WORDS.values(), *_VENDORS}
        self._path, self._problems = path, problems
        self._given: dict[str, Fact] = {}

    def of(self, fact: Fact) -> str:
        """tier, country, region, asn, model and path by these words, else the header's name, `cookie_` and the cookie's, `claim_` and the
        claim's, with _ for what is no letter or digit. Tells a problem where two facts would have one name."""
        name = self._name(fact)
        other = self._given.setdefault(name, fact)
        if other != fact:
            message = f"{_shown(other)} and {_shown(fact)} would both be attribute {name!r} of the flag"
            self._problems.append(Problem("render.flag-name", self._path, message, "give one of the two another name"))
        return name

    def _name(self, fact: Fact) -> str:
        if fact.kind in _WORDS:
            return _WORDS[fact.kind]
        plain = "".join(character if character.isalnum() else "_" for character in fact.name)
        if fact.kind in _PREFIXES:
            return _PREFIXES[fact.kind] + plain
        return self._identity.get(fact.name) or (f"header_{plain}" if plain in self._taken else plain)


def is_claim(attribute: str) -> bool:
    """True where the attribute may be a list: then it is among two values at once."""
    return attribute.startswith(_CLAIM)


def _shown(fact: Fact) -> str:
    return f"{fact.kind.value} {fact.name}"
