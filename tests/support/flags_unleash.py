"""Unleash flags and requests from a seed, and what UnleashClient's own engine answers to them.

Each maker covers one operator or feature: a flag that consists of it alone, so that the flag's answer is the operator's, and values for
its attribute that lie near what the flag asks for. `mixed` puts several together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from yggdrasil_engine.engine import UnleashEngine

from extproc.flags import Attributes, FlagAnswer

Feature = dict[str, Any]
Values = Callable[[Random], Any]
BASE = ("userId", "sessionId", "environment", "appName", "remoteAddress", "currentTime")
NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z
CUSTOM = ("plan", "région", "a b", "x", "user_id", "random")

ANYTHING: tuple[Any, ...] = (
    *("", " ", "a", "abc", "ABC", "user-1", "Ä", "ä", "straße", "STRASSE", "日本語", "🙂🙃", "ΑΣ", "ας", "ασ", "İ", "i̇", "ſ"),
    *("\u212a", "k"),
    *('quo"te', "back\\slash", 'both\\"', "new\nline", "nul\0", "comma,comma", "\u1c89", "\u1c8a", "\U00010d50x"),
    *("\U00010d70X", "\x1c", "\x85"),
    *("1", "1.0", "-1", "+1", "1.", ".5", "1e3", "1E+3", " 1", "1 ", "inf", "-Infinity", "nan", "0x1", "1_0", "١", "1e400", "1e-400", "."),
    *(1, 0, -1, 1.0, 1.5, 10**20, 1e22, 2**53 + 1, float("inf"), float("nan"), True, False),
    *("1.2.3", "v1.2.3", "1.2", "1.2.3-rc.1", "2026-01-01T00:00:00Z", "2026-01-01", "10.1.2.3", "::1", "True", "true", "None"),
)


@dataclass
class Case:
    """Features of one flag (its parents too), and requests that come near it."""

    name: str
    key: str
    features: list[Feature]
    near: dict[str, Values] = field(default_factory=dict)
    segments: list[dict[str, Any]] = field(default_factory=list)

    @property
    def document(self) -> dict[str, Any]:
        return {"version": 2, "features": self.features, "segments": self.segments}


def requests(case: Case, random: Random, count: int) -> list[tuple[dict[str, Any], float]]:
    """(attributes, now): near the flag mostly, missing, empty or anything otherwise."""
    found: list[tuple[dict[str, Any], float]] = []
    for _ in range(count):
        attributes: dict[str, Any] = {}
        for name in {"userId": identity, "sessionId": identity, **case.near}:
            drawn = random.random()
            if drawn < 0.75 and name in case.near:
                attributes[name] = case.near[name](random)
            elif drawn < 0.9:
                attributes[name] = random.choice(ANYTHING)
            elif drawn < 0.93:
                attributes[name] = ""
        if random.random() < 0.1:
            attributes[random.choice(CUSTOM)] = random.choice(ANYTHING)
        found.append((attributes, NOW + random.uniform(-2e5, 2e5)))
    return found


def identity(random: Random) -> Any:
    """An id: mostly plain, sometimes a number or beyond ASCII."""
    drawn = random.randrange(5000)
    return random.choice((f"user-{drawn}", f"user-{drawn}", drawn, f"usér-{drawn}", f"用户{drawn}", f"{drawn}🙂", str(drawn)))


class Oracle:
    """The engine inside UnleashClient, asked with the context that the client builds."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._engine = UnleashEngine()
        self._engine.take_state(json.dumps(document))

    def answer(self, key: str, attributes: Attributes, now: float) -> FlagAnswer:
        context = context_of(attributes, now)
        toggle = self._engine.check_enabled(key, context)
        assert toggle.is_found
        variant = self._engine.check_variant(key, context).variant
        assert variant.feature_enabled == toggle.is_enabled
        return FlagAnswer(toggle.is_enabled, variant.name if variant.enabled else "", toggle.is_enabled)


def context_of(attributes: Attributes, now: float) -> dict[str, Any]:
    """What UnleashClient makes of a context: texts, and everything that is not its own field under `properties`."""
    texts = {name: str(value) for name, value in attributes.items()}
    texts.setdefault("currentTime", datetime.fromtimestamp(now, UTC).isoformat())
    context: dict[str, Any] = {name: value for name, value in texts.items() if name in BASE}
    context["properties"] = {name: value for name, value in texts.items() if name not in BASE}
    return context


def drawn(case: Case, attributes: Attributes) -> str:
    """What the engine would leave to chance: "" nothing, "variant", or "on" (and the variant with it)."""
    features = {one["name"]: one for one in case.features}
    feature = features[case.key]
    parents = [(features[one["feature"]], one.get("variants")) for one in feature.get("dependencies", ())]
    if any(_rollout_drawn(one, attributes) for one in (feature, *(parent for parent, _ in parents))):
        return "on"
    if any(names and _variant_drawn(parent, attributes) for parent, names in parents):
        return "on"
    return "variant" if _variant_drawn(feature, attributes) else ""


def _rollout_drawn(feature: Feature, attributes: Attributes) -> bool:
    for strategy in feature["strategies"]:
        given = strategy.get("parameters", {})
        by_default = strategy["name"] == "flexibleRollout" and given.get("stickiness", "default") == "default"
        if by_default and int(given["rollout"]) not in (0, 100) and not ({"userId", "sessionId"} & set(attributes)):
            return True
    return False


def _variant_drawn(feature: Feature, attributes: Attributes) -> bool:
    stickiness = [one.get("parameters", {}).get("stickiness", "default") for one in feature["strategies"] if one.get("variants")]
    if feature.get("variants"):
        stickiness.append(feature["variants"][0].get("stickiness") or "default")
    return any(not ({"userId", "sessionId"} if one == "default" else {one}) & set(attributes) for one in stickiness)


def case_of(name: str, random: Random, *strategies: Any, near: dict[str, Values] | None = None, **more: Any) -> Case:
    key = random.choice(("flag", "checkout.new", "ünïcode-flag", "flag 'q'")) + str(random.randrange(1000))
    return Case(name, key, [{"name": key, "enabled": True, "strategies": list(strategies), **more}], near or {})


def constrained(name: str, random: Random, operator: str, near: Values, **more: Any) -> Case:
    """A flag of one constraint, on any field or property."""
    field_name = "currentTime" if name.endswith("currentTime") else random.choice((*BASE[:5], *CUSTOM))
    given = {"contextName": field_name, "operator": operator, "inverted": random.random() < 0.3, **more}
    return case_of(name, random, {"name": "default", "constraints": [given]}, near={field_name: near})


def text_case(random: Random, operator: str, ignore_case: bool) -> Case:
    words = [str(random.choice(ANYTHING)) for _ in range(random.randint(1, 4))]
    words = [word for word in words if not word.endswith("\\")] or ["a"]

    def near(random: Random) -> str:
        word = random.choice(words)
        word = random.choice((word, word.upper(), word.lower(), word.swapcase(), word[:-1]))
        return random.choice((word, "x" + word, word + "x", f"é{word}é", word + word))

    more = {"values": words, "caseInsensitive": ignore_case}
    name = operator + (" ignoring case" if ignore_case and operator.startswith("STR") else "")
    return constrained(name, random, operator, near, **more)


def number_case(random: Random, operator: str) -> Case:
    wanted = random.choice(("1", "0", "-1.5", "+3", "1e2", "2.", " 7 ", "1e400", "0.1", "9007199254740993", "1.0000000000000002", "-0"))

    def near(random: Random) -> Any:
        value = float(wanted)
        moved = value + random.choice((0, 0, 1, -1, 0.5, 2**-52, -(2**-53), 1e-9))
        texts = (
            moved,
            str(moved),
            f"{moved:g}",
            f"{moved:e}",
            wanted.strip(),
            f"+{abs(moved)}",
            f"{moved:.3f}",
            f" {moved}",
            str(moved).rstrip("0"),
        )
        return random.choice(texts if abs(moved) == float("inf") else (*texts, int(moved), str(int(moved))))

    return constrained(operator, random, operator, near, value=wanted)


def date_case(random: Random, operator: str, field_name: str) -> Case:
    moment = datetime.fromtimestamp(NOW, UTC) + timedelta(hours=random.randint(-40, 40))
    wanted = random.choice(
        (
            f"{moment:%Y-%m-%dT%H:%M:%S}Z",
            f"{moment:%Y-%m-%dT%H:%M:%S}.500+02:00",
            f"{moment:%Y-%m-%dT%H:%M:%S}-11:30",
            "2016-12-31T23:59:60Z",
        )
    )

    def near(random: Random) -> str:
        moved = moment + timedelta(hours=random.randint(-14, 14), milliseconds=random.choice((0, 500, 499, 501)))
        text = random.choice(
            (
                moved.isoformat(),
                wanted,
                f"{moved:%Y-%m-%d %H:%M:%S}Z",
                f"{moved:%Y-%m-%dT%H:%M:%S.%f}123456+0130",
                f"{moved:%Y-%-m-%-d %-H:%-M:%-S} UTC",
            )
        )
        return scratched(text, random, " :-+TZz.0156\u2212\x1c\u2003") if random.random() < 0.5 else text

    return constrained(operator + field_name, random, operator, near, value=wanted)


def version_case(random: Random, operator: str) -> Case:
    def some(random: Random) -> str:
        core = ".".join(str(random.choice((0, 1, 2, 10))) for _ in range(3))
        return core + random.choice(
            ("", "", "-rc.1", "-rc.2", "-rc.10", "-1", "-2", "-10", "-a-b", "-rc.1.x", "-0a", "+build.01", "-rc.1+b")
        )

    def near(random: Random) -> str:
        text = random.choice((some(random), wanted.strip(), wanted.strip()))
        return scratched(text, random, "01.-+av 9é") if random.random() < 0.2 else text

    wanted = random.choice(("", " ")) + some(random)
    return constrained(operator, random, operator, near, value=wanted)


def scratched(text: str, random: Random, letters: str) -> str:
    """A text with one small fault (or none)."""
    place = random.randrange(len(text) + 1)
    kept = text[place + random.choice((0, 1)) :]
    return text[:place] + random.choice(("", random.choice(letters))) + kept


def some_address(random: Random) -> str:
    tail = f"{random.randrange(3)}.{random.randrange(256)}.{random.randrange(4)}"
    plain = (
        *(f"10.{tail}", f"192.{tail}", f"2001:db8::{random.randrange(1 << 16):x}", f"2001:db8:{random.randrange(3)}::1"),
        *(f"::ffff:10.{tail}", "::", "::1"),
    )
    text = random.choice(plain)
    return scratched(text, random, "0:.1f/% %") if random.random() < 0.2 else text


NETWORKS = (
    *("10.0.0.0/8", "10.1.2.3/15", "10.1.7.1", "2001:db8::/33", "2001:db8:1::/48", "::1", "::ffff:10.0.0.0/100", "0.0.0.0/0"),
    *("::/0", "10.0.0.0/016"),
)


def cidr_case(random: Random) -> Case:
    return constrained("IN_CIDR", random, "IN_CIDR", some_address, values=random.sample(NETWORKS, 2))


def address_case(random: Random) -> Case:
    ips = random.choice((", ", ",", ",,", "\u2003,\t")).join(random.sample(NETWORKS, 2))
    return case_of("remoteAddress", random, {"name": "remoteAddress", "parameters": {"IPs": ips}}, near={"remoteAddress": some_address})


PATTERNS = (
    *("^a+$", "a.c", "b{2,3}c", "(ab|cd)*e$", "^(?:x|y)?z", "[a-cx]+\\d", "[^a-y]", "\\.com$", "^\\d{3}-\\d{2}$", "\\s\\S"),
    *("(?i)k[a-f]s", "a*?b+?c??"),
    *("^$", "", "$^", "a|", "()", "(a|b)*abb", "日本", "[ä-ü]", "é?f", "^[^@]+@[^@]+\\.(com|de)$", 'a"b', "\\D\\D", "[\\d.-]+"),
    *("x{3}", "(a*)*b", "a**", "\\\\?$"),
    *("[+*/=-]", "a\\nb", "\\/v1\\/", "^.{2,4}$", "(^a|b$)", "^*a", "(a{2}){2}", "[\\s,;]+$"),
)


def regex_case(random: Random, ignore_case: bool) -> Case:
    pattern = random.choice([one for one in PATTERNS if one.isascii() or not ignore_case])
    letters = 'aabbccdexyzAKkSs19.@-é日本\u212a\u017fä\n \u2003\u0663\U00010d40\\"/'

    def near(random: Random) -> str:
        hints = (
            *("aa", "abc", "bbc", "ababe", "xz", "a1", "user.com", "123-45", "kas", "a b", "", "abb", "日本", "fé", "ab@cd.de", 'a"b'),
            *("xxx", "aaaa", "a\nb"),
        )
        text = random.choice((random.choice(hints), "".join(random.choice(letters) for _ in range(random.randint(0, 6)))))
        return scratched(text, random, letters) if random.random() < 0.4 else text

    name = "REGEX" + (" ignoring case" if ignore_case else "")
    return constrained(name, random, "REGEX", near, value=pattern, caseInsensitive=ignore_case)


def user_with_id_case(random: Random) -> Case:
    ids = [str(random.choice(ANYTHING)) for _ in range(4)]
    ids = [one for one in ids if not one.rstrip().endswith("\\")]
    text = random.choice((",", ", ", "\u2003,")).join([*ids, "user-1"])
    return case_of(
        "userWithId",
        random,
        {"name": "userWithId", "parameters": {"userIds": text}},
        near={"userId": lambda r: r.choice((*ids, "user-1", "user-2"))},
    )


def gradual_case(random: Random, name: str) -> Case:
    parameters = {
        "percentage": random.choice(("0", "1", "5", "25", "50", "+75", "099", "100")),
        "groupId": random.choice(("", "g", "grüppe 'x'")),
    }
    field_name = "userId" if name.endswith("UserId") else "sessionId"
    return case_of(name, random, {"name": name, "parameters": parameters}, near={field_name: identity})


def flexible_strategy(random: Random, stickiness: str | None) -> dict[str, Any]:
    parameters = {"rollout": str(random.choice((0, 1, 5, 25, 50, 75, 99, 100)))}
    if stickiness is not None:
        parameters["stickiness"] = stickiness
    if random.random() < 0.7:
        parameters["groupId"] = random.choice(("", "group", "grüppe\\x", "a:b"))
    return {"name": "flexibleRollout", "parameters": parameters}


def flexible_case(random: Random, stickiness: str | None) -> Case:
    name = f"flexibleRollout by {stickiness or 'nothing named'}"
    field_name = {"default": "userId", None: "sessionId"}.get(stickiness, stickiness) or "userId"
    return case_of(name, random, flexible_strategy(random, stickiness), near={field_name: identity})


def some_variants(random: Random, stickiness: str | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for index in range(random.randint(1, 5)):
        variant: dict[str, Any] = {"name": f"v{index}", "weight": random.choice((0, 1, 10, 333, 500, 1000)), "weightType": "variable"}
        if stickiness:
            variant["stickiness"] = stickiness
        if random.random() < 0.5:
            variant["payload"] = {"type": "string", "value": "x"}
        found.append(variant)
    found[random.randrange(len(found))]["weight"] = 250
    return found


def variants_case(random: Random, stickiness: str | None) -> Case:
    name = "variants by " + (stickiness or "nothing named")
    field_name = {"default": "sessionId", None: "userId"}.get(stickiness, stickiness) or "userId"
    return case_of(name, random, {"name": "default"}, near={field_name: identity}, variants=some_variants(random, stickiness))


def overrides_case(random: Random) -> Case:
    case = case_of(
        "overrides",
        random,
        near={"userId": lambda r: r.choice(("u1", "u2", identity(r))), "plan": lambda r: r.choice(("pro", "free", "é"))},
    )
    variants = some_variants(random, None)
    for variant in variants:
        variant["overrides"] = [
            {"contextName": "plan", "values": random.sample(["pro", "é", "x"], 1)},
            {"contextName": "userId", "values": ["u1"]},
        ]
    case.features[0]["variants"] = variants
    return case


def strategy_variants_case(random: Random) -> Case:
    first = flexible_strategy(random, random.choice(("userId", "default", None)))
    second = flexible_strategy(random, random.choice(("sessionId", "plan")))
    first["variants"] = random.choice(([], some_variants(random, None)))
    second["variants"] = [{**one, "name": "s" + one["name"]} for one in some_variants(random, None)]
    near: dict[str, Values] = {"userId": identity, "sessionId": identity, "plan": identity}
    more = {"variants": [{**one, "name": "f" + one["name"]} for one in some_variants(random, None)]} if random.random() < 0.5 else {}
    strategies = random.sample((first, second, {"name": "default"}), random.randint(2, 3))
    return case_of("strategy variants", random, *strategies, near=near, **more)


def segments_case(random: Random) -> Case:
    one = text_case(random, "IN", False)
    (name, near), constraints = next(iter(one.near.items())), one.features[0]["strategies"][0].pop("constraints")
    one.features[0]["strategies"][0]["segments"] = [7, 9]
    one.segments = [
        {"id": 7, "name": "seg", "constraints": constraints},
        {"id": 9, "name": "all", "constraints": []},
        {"id": 8, "constraints": [{}] * 0},
    ]
    return Case("segments", one.key, one.features, {name: near}, one.segments)


def parent_case(random: Random, what: str) -> Case:
    parent = flexible_case(random, "userId")
    parent.features[0].update(name="parent", enabled=random.random() < 0.8)
    if what == "variants" or random.random() < 0.3:
        parent.features[0]["variants"] = some_variants(random, "userId")
    dependency: dict[str, Any] = {"feature": "parent"}
    if what == "off":
        dependency["enabled"] = False
    if what == "variants":
        dependency.update(variants=random.choice((["v0"], ["v0", "v1"], [], ["none"])), enabled=random.random() < 0.8)
    child = case_of(f"parent {what}", random, {"name": "default"}, near=parent.near, dependencies=[dependency])
    return Case(child.name, child.key, [*child.features, *parent.features], child.near)


def default_case(random: Random) -> Case:
    return case_of("default, enabled or not", random, *random.choice(((), ({"name": "default"},))), enabled=random.random() < 0.5)


def mixed_case(random: Random) -> Case:
    """Several strategies, each with several constraints and variants."""
    near: dict[str, Values] = {}
    strategies: list[dict[str, Any]] = []
    for _ in range(random.randint(1, 4)):
        base = random.choice(
            (lambda r: flexible_case(r, "userId"), lambda r: flexible_case(r, "default"), user_with_id_case, address_case, default_case)
        )(random)
        strategy: dict[str, Any] = dict((base.features[0]["strategies"] or [{"name": "default"}])[0])
        parts = [random.choice(MAKERS[:OPERATOR_MAKERS])(random) for _ in range(random.randint(0, 2))]
        strategy["constraints"] = [one for part in parts for one in part.features[0]["strategies"][0]["constraints"]]
        if random.random() < 0.3:
            strategy["variants"] = some_variants(random, None)
        strategies.append(strategy)
        for part in (base, *parts):
            near.update(part.near)
    more = {"variants": some_variants(random, random.choice((None, "userId", "plan")))} if random.random() < 0.5 else {}
    return case_of("mixed", random, *strategies, near=near, **more)


Maker = Callable[[Random], Case]
MAKERS: list[Maker] = [
    *(lambda r, o=o: text_case(r, o, False) for o in ("IN", "NOT_IN", "STR_CONTAINS", "STR_STARTS_WITH", "STR_ENDS_WITH")),
    *(lambda r, o=o: text_case(r, o, True) for o in ("STR_CONTAINS", "STR_STARTS_WITH", "STR_ENDS_WITH")),
    *(lambda r, o=o: number_case(r, o) for o in ("NUM_EQ", "NUM_GT", "NUM_GTE", "NUM_LT", "NUM_LTE")),
    *(lambda r, o=o, f=f: date_case(r, o, f) for o in ("DATE_AFTER", "DATE_BEFORE") for f in ("", " currentTime")),
    *(lambda r, o=o: version_case(r, o) for o in ("SEMVER_EQ", "SEMVER_GT", "SEMVER_GTE", "SEMVER_LT", "SEMVER_LTE")),
    *(lambda r, i=i: regex_case(r, i) for i in (False, True)),
    cidr_case,
    address_case,
    user_with_id_case,
    lambda r: gradual_case(r, "gradualRolloutUserId"),
    lambda r: gradual_case(r, "gradualRolloutSessionId"),
    *(lambda r, s=s: flexible_case(r, s) for s in (None, "default", "userId", "sessionId", "plan", "région")),
    *(lambda r, s=s: variants_case(r, s) for s in (None, "default", "userId", "sessionId", "plan")),
    overrides_case,
    strategy_variants_case,
    segments_case,
    *(lambda r, w=w: parent_case(r, w) for w in ("on", "off", "variants")),
    default_case,
    mixed_case,
]
OPERATOR_MAKERS = 8 + 5 + 4 + 5 + 2 + 1
