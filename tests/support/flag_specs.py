"""Generated Specs whose rollouts a flag can say, and people to ask both about: as a request at the edge, as attributes in the code."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from extproc import spec as specs
from extproc.domain import FlagVendor, Spec, Subject

UNIT_NAMES = {
    FlagVendor.UNLEASH: "userId",
    FlagVendor.LAUNCHDARKLY: "key",
    FlagVendor.GROWTHBOOK: "id",
    FlagVendor.FLAGD: "targetingKey",
}
STEPS = {FlagVendor.UNLEASH: 1.0, FlagVendor.LAUNCHDARKLY: 0.001, FlagVendor.GROWTHBOOK: 0.01, FlagVendor.FLAGD: 0.01}
"""The finest shares that each can say, in percent."""
NAMES = ("a", "b", "ü", "日本")
TIERS = ("internal", "gold", "Gold", "größe", "a,b", 'say "hi"', "c:\\d", "{x}", "$1", "%20", "null", "true", "5")
COUNTRIES = ("DE", "FR", "GB", "US", "JP")
REGIONS = ("DE-BY", "GB-ENG", "GB-SCT", "US-CA", "US-NY")
ASNS = (3320, 15169, 64512)
PLANS = ("pro", "free", "ent erprise", "日本", "x|y", "'", "\\d+", "a.b")
PATHS = ("/v1/chat", "/v1/chat/completions", "/v1/(x)", "/a+b?q=[1]", "/größe", "/")
MODELS = ("gpt-4o", "gpt-5")
IDS = (*tuple(f"user-{number}" for number in range(12)), "ü-1", "日本", "id with blanks", "a,b", "😀")
ATTRIBUTES = ("tier", "country", "region", "asn", "x_plan", "header_id", "cookie_beta", "claim_org_team", "model", "path")
"""What the facts below are called in a flag; header `id` is not GrowthBook's id."""


@dataclass(frozen=True, slots=True)
class Person:
    """One request: the unit's id, and what is known besides. A fact that is not there is not known; it may also be empty."""

    unit: str
    facts: dict[str, str] = field(default_factory=dict)

    def subject(self) -> Subject:
        """As the edge sees it."""
        named = {
            "tier": "x-user-tier",
            "country": "x-geo-country",
            "region": "x-geo-region",
            "asn": "x-geo-asn",
            "x_plan": "x-plan",
            "header_id": "id",
            "claim_org_team": "extproc.claim.org.team",
            "model": "extproc.request.model",
            "path": ":path",
        }
        found = {named[name]: value.encode() for name, value in self.facts.items() if name in named}
        if "cookie_beta" in self.facts:
            found["cookie"] = f"other=1; beta={self.facts['cookie_beta']}".encode()
        return {"x-user-id": self.unit.encode(), **found}

    def attributes(self, vendor: FlagVendor) -> dict[str, str]:
        """As code tells a flag. LaunchDarkly is given every attribute, as the rendered flag wants it."""
        given = {**dict.fromkeys(ATTRIBUTES, ""), **self.facts} if vendor is FlagVendor.LAUNCHDARKLY else self.facts
        return {UNIT_NAMES[vendor]: self.unit, **given}


def person(random: Random) -> Person:
    """Somebody; half of the ids are named in Specs now and then."""
    unit = random.choice(IDS) if random.random() < 0.3 else f"{random.choice(('user-', 'ü', '日本/', ''))}{random.randrange(10**6)}"
    country = random.choice((*COUNTRIES, "XX", "de"))
    region = random.choice([code.split("-")[1] for code in REGIONS if code.startswith(country)] or ["ENG"])
    facts = {
        "tier": random.choice((*TIERS, "other", "")),
        "country": country,
        "region": region if random.random() < 0.8 else random.choice(("BY", "CA", "")),
        "asn": str(random.choice((*ASNS, 1))),
        "x_plan": random.choice((*PLANS, "prox", "")),
        "header_id": random.choice((*NAMES, unit)),
        "cookie_beta": random.choice((*NAMES, "c")),
        "claim_org_team": random.choice((*NAMES, "c")),
        "model": random.choice((*MODELS, "claude")),
        "path": random.choice(PATHS) + random.choice(("", "", "/more", "?a=b")),
    }
    return Person(unit, {name: value for name, value in facts.items() if random.random() < 0.85})


def some(random: Random, pool: tuple[Any, ...]) -> list[Any]:
    return random.sample(pool, random.randint(1, min(4, len(pool))))


def leaf(random: Random) -> dict[str, Any]:
    """One or two conditions; together they hold."""
    makers = (
        lambda: {"country": [*some(random, COUNTRIES), *(["EU"] if random.random() < 0.2 else [])]},
        lambda: {"region": some(random, REGIONS)},
        lambda: {"asn": some(random, ASNS)},
        lambda: {"tier": some(random, TIERS)},
        lambda: {"header": {"x-plan": some(random, PLANS)}},
        lambda: {"header": {"id": some(random, NAMES)}},
        lambda: {"cookie": {"beta": some(random, NAMES)}},
        lambda: {"claim": {"org.team": some(random, NAMES)}},
        lambda: {"model": some(random, MODELS)},
        lambda: {"path": some(random, PATHS[:-1])},
        lambda: {"ids": some(random, IDS)},
    )
    found = random.choice(makers)()
    return found | random.choice(makers)() if random.random() < 0.25 else found


def selector(random: Random, depth: int = 2) -> dict[str, Any]:
    """Leaves, and combinations of them."""
    kind = random.random()
    if depth == 0 or kind < 0.5:
        return leaf(random)
    if kind < 0.65:
        return {"not": selector(random, depth - 1)}
    word = random.choice(("all", "any"))
    inner: dict[str, Any] = {word: [selector(random, depth - 1) for _ in range(random.randint(1, 3))]}
    return inner | ({"tier": some(random, TIERS)} if random.random() < 0.2 else {})


def rollout(random: Random, vendor: FlagVendor, salt: str) -> dict[str, Any]:
    """A rollout with cohorts of every kind that a flag can say."""

    def share(low: float, high: float) -> str:
        step = STEPS[vendor]
        return f"{round(random.randint(round(low / step), round(high / step)) * step, 6):g}%"

    phases = [{"share": share(1, 9), "name": "p0"}, {"share": share(20, 40), "name": "p1"}, {"share": share(55, 80), "name": "p2"}]
    cohorts = []
    for number in range(random.randint(1, 4)):
        cohort: dict[str, Any] = {"name": f"c{number}", **selector(random)}
        cohort |= {"exclude": selector(random, 1)} if random.random() < 0.35 else {}
        cohort |= {"from": random.choice(("p1", "p2"))} if random.random() < 0.2 else {}
        kind = random.random()
        if kind < 0.15:
            cohort["share"] = share(1, 100)
        elif kind < 0.3:
            cohort["shares"] = {"p1": share(41, 54), "p2": share(81, 100)}
            if cohort.get("from") == "p2":
                del cohort["shares"]["p1"]
        elif kind < 0.45:
            cohort["multiplier"] = random.choice((2, 3, 10))
        cohorts.append(cohort)
    if random.random() < 0.7:
        cohorts.append({"name": "everyone"} | ({"exclude": selector(random, 1)} if random.random() < 0.5 else {}))
    overrides = {"stable": some(random, IDS), "canary": some(random, IDS)} if random.random() < 0.4 else {}
    return {
        "stable": "old",
        "canary": "new",
        "unit": {"kind": "user", "sources": [{"header": "x-user-id"}]},
        "cohorts": cohorts,
        "phases": [*phases, {"share": "100%", "name": "p3"}],
        "holdback": share(1, 45) if random.random() < 0.5 else "0%",
        "overrides": overrides,
        "salt": salt,
        "bucket": vendor.value,
    }


def document(rollouts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A whole Spec around them."""
    return {
        "version": 1,
        "application": {
            "name": "chat",
            "type": "chatbot",
            "daily_requests": 1000000,
            "daily_units": 50000,
            "infrastructure": "vm",
            "sla": {"latency_p99": "8s", "ttft": "2s", "uptime": "99.9%"},
        },
        "listener": {"kind": "internal", "port": 8080, "jwt": {"issuer": "https://issuer.example", "jwks_file": "/etc/jwks.json"}},
        "models": {"old": {}, "new": {}},
        "rollouts": rollouts,
        **more,
    }


def text(rollouts: dict[str, Any], **more: Any) -> str:
    """Its text: JSON, which is YAML too."""
    return orjson.dumps(document(rollouts, **more), option=orjson.OPT_INDENT_2).decode()


def spec(rollouts: dict[str, Any], **more: Any) -> Spec:
    """Loaded and checked, as from a file."""
    return specs.load(text(rollouts, **more))
