"""Activation strategies -> Tests. A strategy is its rule and all its constraints and segments; a flag is on where one strategy holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from extproc.flags.unleash.constraints import constraint, in_networks
from extproc.flags.unleash.context import Test, Texts, always, every, never, quotable, usable_stickiness
from extproc.flags.unleash.letters import WHITE_SPACE
from extproc.flags.unleash.points import group_prefix, percent_of
from extproc.flags.unleash.reading import CORRECT, Notes, did_you_mean, shown
from extproc.flags.unleash.values import Network, network

DEFAULT: Final = "default"
RANDOM: Final = "random"
USER_ID: Final = "userId"
SESSION_ID: Final = "sessionId"
REMOTE_ADDRESS: Final = "remoteAddress"
STRATEGIES: Final = (
    *("default", "userWithId", "gradualRolloutUserId", "gradualRolloutSessionId", "gradualRolloutRandom"),
    *("flexibleRollout", "remoteAddress"),
)

Segments = Mapping[int, tuple[str, Mapping[str, Any]]]
"""Segment id -> (path, segment)."""


def strategy(given: Mapping[str, Any], flag: str, segments: Segments, path: str, notes: Notes) -> Test:
    """A strategy with its constraints and segments; `flag` is the default group of a flexibleRollout."""
    tests = [constraint(one, place, notes) for place, one in notes.objects(given, "constraints", path)]
    for identity in _segment_ids(given, path, notes):
        if identity not in segments:
            hint = did_you_mean(str(identity), [str(known) for known in segments])
            notes.refuse("unknown-segment", f"{path}.segments", f"there is no segment {identity}", hint)
            continue
        place, segment = segments[identity]
        tests.extend(constraint(one, at, notes) for at, one in notes.objects(segment, "constraints", place))
    return every([*tests, _rule(given, flag, path, notes)])


def _segment_ids(given: Mapping[str, Any], path: str, notes: Notes) -> list[int]:
    ids = given.get("segments")
    if ids is None:
        return []
    if isinstance(ids, list) and all(type(one) is int for one in ids):
        return ids
    notes.malformed(f"{path}.segments", ids, "a list of segment ids")
    return []


def _rule(given: Mapping[str, Any], flag: str, path: str, notes: Notes) -> Test:
    name = notes.text(given, "name", path)
    parameters = notes.parameters(given, path)
    place = f"{path}.parameters"
    if name is None:
        return never
    if name == "default":
        return always
    if name == "userWithId":
        return _user_with_id(parameters, place, notes)
    if name == "gradualRolloutUserId":
        return _gradual(USER_ID, parameters, place, notes)
    if name == "gradualRolloutSessionId":
        return _gradual(SESSION_ID, parameters, place, notes)
    if name == "gradualRolloutRandom":
        return _by_chance(_percent(parameters, "percentage", place, notes), place, notes)
    if name == "flexibleRollout":
        return _flexible(parameters, flag, place, notes)
    if name == "remoteAddress":
        return _remote_address(parameters, place, notes)
    if name == "applicationHostname":
        hint = "the host would be that of the proxy, not of the application: use a constraint"
        notes.refuse("unsupported-strategy", f"{path}.name", f"{name!r} is not taken", hint)
        return never
    hint = did_you_mean(name, list(STRATEGIES))
    notes.refuse("unsupported-strategy", f"{path}.name", f"{name!r} is a custom strategy: only the application knows its rule", hint)
    return never


def _user_with_id(parameters: Mapping[str, str], path: str, notes: Notes) -> Test:
    if "userIds" not in parameters:
        notes.malformed(f"{path}.userIds", None, "a list of ids with commas", CORRECT)
        return never
    ids = frozenset(one.strip(WHITE_SPACE) for one in parameters["userIds"].split(","))
    for one in sorted(ids):
        if one.endswith("\\"):
            hint = "the engine cannot read it and switches the flag off: drop the backslash"
            notes.refuse("malformed", f"{path}.userIds", f"{shown(one)} ends in a backslash", hint)
    notes.needs.add(USER_ID)
    return lambda texts, _: texts.get(USER_ID) in ids


def _remote_address(parameters: Mapping[str, str], path: str, notes: Notes) -> Test:
    if "IPs" not in parameters:
        notes.malformed(f"{path}.IPs", None, "a list of addresses with commas", CORRECT)
        return never
    networks: list[Network] = []
    for one in parameters["IPs"].split(","):
        text = one.strip(WHITE_SPACE)
        found = network(text)
        if found is not None:
            networks.append(found)
        elif text:  # between two commas is nothing, and the engine skips it
            notes.malformed(f"{path}.IPs", text, "an address or a network like 10.0.0.0/8 or 2001:db8::/32", CORRECT)
    notes.needs.add(REMOTE_ADDRESS)
    return in_networks(REMOTE_ADDRESS, tuple(networks))


def _gradual(name: str, parameters: Mapping[str, str], path: str, notes: Notes) -> Test:
    percent = _percent(parameters, "percentage", path, notes)
    group = parameters.get("groupId")
    if group is None:
        notes.malformed(f"{path}.groupId", None, "a text")
        return never
    if not quotable(group, f"{path}.groupId", notes):
        return never
    notes.needs.add(name)
    return _sticky(name, percent, group_prefix(group))


def _flexible(parameters: Mapping[str, str], flag: str, path: str, notes: Notes) -> Test:
    percent = _percent(parameters, "rollout", path, notes)
    group = parameters.get("groupId")
    stickiness = parameters.get("stickiness", DEFAULT)
    if group is not None and not quotable(group, f"{path}.groupId", notes):
        return never
    prefix = group_prefix(flag if group is None else group)
    if stickiness == RANDOM:
        return _by_chance(percent, path, notes)
    if stickiness == DEFAULT:
        if percent in (0, 100):  # also for those who have no id: no draw can change it
            return always if percent else never
        notes.needs.update((USER_ID, SESSION_ID))
        return _sticky_default(percent, prefix)
    if not usable_stickiness(stickiness, f"{path}.stickiness", notes):
        return never
    return _sticky(stickiness, percent, prefix)


def _by_chance(percent: int, path: str, notes: Notes) -> Test:
    if percent not in (0, 100):
        hint = "use flexibleRollout with stickiness userId, sessionId or a custom property: each request would be drawn anew"
        notes.refuse("random", path, f"a random {percent} % of the requests", hint)
    return always if percent == 100 else never


def _percent(parameters: Mapping[str, str], name: str, path: str, notes: Notes) -> int:
    """0 to 100; 0 after noting a Problem."""
    value = parameters.get(name)
    digits = value.removeprefix("+") if value is not None else ""
    if digits.isascii() and digits.isdigit() and len(digits.lstrip("0")) <= 3 and int(digits) <= 100:
        return int(digits)
    notes.malformed(f"{path}.{name}", value, "a whole percent from 0 to 100, as a text", CORRECT)
    return 0


def _sticky(name: str, percent: int, prefix: bytes) -> Test:
    def test(texts: Texts, _: float) -> bool:
        unit = texts.get(name)
        return unit is not None and percent_of(prefix, unit.encode()) < percent

    return test


def _sticky_default(percent: int, prefix: bytes) -> Test:
    def test(texts: Texts, _: float) -> bool:
        unit = texts.get(USER_ID)
        if unit is None:
            unit = texts.get(SESSION_ID)
            if unit is None:
                return False  # the engine would draw
        return percent_of(prefix, unit.encode()) < percent

    return test
