"""The people who use the application: a finite set, the same for the same seed, each with a tier, a country and an address.

Addresses come from 198.18.0.0/15, which RFC 2544 reserves for benchmarks: nobody real is ever looked up. A country database written
from `COUNTRY_NETWORKS` makes a real geoip filter see the same countries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from random import Random
from types import MappingProxyType
from typing import Final

COUNTRY_NETWORKS: Final[Mapping[str, IPv4Network]] = MappingProxyType(
    {
        "US": IPv4Network("198.18.0.0/18"),
        "DE": IPv4Network("198.18.64.0/18"),
        "JP": IPv4Network("198.18.128.0/18"),
        "BR": IPv4Network("198.18.192.0/18"),
        "NZ": IPv4Network("198.19.0.0/18"),
    }
)
_COUNTRY_WEIGHTS: Final = (0.45, 0.20, 0.15, 0.15, 0.05)
INTERNAL_TIER: Final = "internal"
_TIERS: Final = (INTERNAL_TIER, "paid", "free")
_TIER_WEIGHTS: Final = (0.03, 0.27, 0.70)


@dataclass(frozen=True, slots=True)
class Person:
    """One user. The anonymous have no id: they are known by the cookie they were given, and by nothing before."""

    id: str
    """Empty for the anonymous."""
    tier: str
    country: str
    address: str

    @property
    def anonymous(self) -> bool:
        """True for a visitor who is not signed in."""
        return not self.id


def population(size: int, seed: int, anonymous: float = 0.0) -> list[Person]:
    """`size` people, a share of them anonymous (those have the tier `free`)."""
    random = Random(seed)
    countries = random.choices(list(COUNTRY_NETWORKS), _COUNTRY_WEIGHTS, k=size)
    tiers = random.choices(_TIERS, _TIER_WEIGHTS, k=size)
    unknown = round(size * anonymous)
    people = []
    for index, (country, tier) in enumerate(zip(countries, tiers, strict=True)):
        network = COUNTRY_NETWORKS[country]
        address = str(IPv4Address(int(network.network_address) + random.randrange(1, network.num_addresses - 1)))
        if index < unknown:
            people.append(Person("", "free", country, address))
        else:
            people.append(Person(f"user-{seed}-{index}", tier, country, address))
    random.shuffle(people)
    return people


def request_body(model: str, stream: bool, words: int, country: str = "", about: str = "") -> bytes:
    """A chat completion request in JSON, its question `words` words long. `country` goes into the body's own `metadata`, as applications
    tag their requests: a gateway does not look there, a model may. `about`: what makes this question another one."""
    question = " ".join(("please", "explain", "again", "why")[i % 4] for i in range(words)) + about
    streaming = ',"stream":true,"stream_options":{"include_usage":true}' if stream else ""
    tagged = f',"metadata":{{"country":"{country}"}}' if country else ""
    return f'{{"model":"{model}","messages":[{{"role":"user","content":"{question}"}}]{streaming}{tagged}}}'.encode()


def answering_model(body: bytes) -> str:
    """The `model` that an answer (JSON or SSE) names; empty where it names none."""
    mark = b'"model":"'
    start = body.find(mark)
    if start < 0:
        return ""
    start += len(mark)
    return body[start : body.find(b'"', start)].decode("utf-8", "replace")
