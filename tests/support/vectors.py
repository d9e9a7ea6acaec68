"""Vectors of docs/hash.md, made by the code that decides. `python -m tests.support.vectors` prints docs/hash-vectors.json."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from random import Random
from typing import Any, Final

from xxhash import xxh3_64_intdigest

from extproc.assign import point
from extproc.assign.bucket import cohort_prefix, ring_prefix, slot_prefix, thresholds
from extproc.assign.pools import Pool
from extproc.domain import RING

IDS: Final = ("", "u1", "user-42", "alice@example.com", "ünïcode", "日本語", "🙂🙂", "x" * 120, "long-" * 60)
LENGTHS: Final = (
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    9,
    15,
    16,
    17,
    32,
    33,
    64,
    65,
    96,
    97,
    127,
    128,
    129,
    143,
    144,
    239,
    240,
    241,
    511,
    512,
    1023,
    1024,
    1025,
    2500,
)
"""Bytes at which XXH3 takes another way, and their neighbours."""
ARMS: Final = ((0.0, 0.0), (0.01, 0.0), (0.05, 0.0), (0.25, 0.0), (0.5, 0.0), (0.75, 0.0), (1.0, 0.0), (0.5, 0.1), (1.0, 0.1))
"""(share, holdback)."""
POOLS: Final[tuple[dict[str, float], ...]] = ({"east": 3.0, "west": 1.0}, {"a": 0.95, "b": 0.05}, {"n1": 1.0, "n2": 1.0, "n3": 1.0})
SLOTS: Final[tuple[dict[str, float], ...]] = ({"first": 0.5, "second": 0.5}, {"a": 0.1, "b": 0.2, "c": 0.3})

Rows = list[dict[str, Any]]


def ring_row(layer: str, salt: str, name: str) -> dict[str, Any]:
    return {"layer": layer, "salt": salt, "id": name, "point": point(ring_prefix(layer, salt), name.encode())}


def cohort_row(layer: str, salt: str, cohort: str, share: float, name: str) -> dict[str, Any]:
    where = point(cohort_prefix(layer, salt, cohort), name.encode())
    return {"layer": layer, "salt": salt, "cohort": cohort, "share": share, "id": name, "point": where, "in": where < round(share * RING)}


def slot_row(layer: str, slots: Mapping[str, float], name: str) -> dict[str, Any]:
    where, found = point(slot_prefix(layer), name.encode()), None
    ends = pairwise(min(end, 1.0) for end in accumulate(slots.values(), initial=0.0))
    for slot, (begin, end) in zip(slots, ends, strict=True):
        if round(begin * RING) <= where < round(end * RING):
            found = slot
    return {"layer": layer, "slots": [[slot, share] for slot, share in slots.items()], "id": name, "point": where, "slot": found}


def arm_row(layer: str, salt: str, share: float, holdback: float, name: str) -> dict[str, Any]:
    where, limits = point(ring_prefix(layer, salt), name.encode()), thresholds(share, holdback)
    arm = "canary" if where < limits.canary_below else "control" if where >= limits.control_from else "rest"
    limited = {"canary_below": limits.canary_below, "control_from": limits.control_from}
    return {"layer": layer, "salt": salt, "share": share, "holdback": holdback, "id": name, **limited, "arm": arm}


def pool_row(members: Mapping[str, float], name: str) -> dict[str, Any]:
    clusters = list(members)
    picked = clusters[Pool(clusters, list(members.values())).pick(name.encode())]
    return {"members": [[cluster, weight] for cluster, weight in members.items()], "id": name, "cluster": picked}


def hash_row(text: str) -> dict[str, Any]:
    return {"input": text, "hash": f"{xxh3_64_intdigest(text.encode()):016x}"}


def published() -> dict[str, Rows]:
    """The vectors of docs/hash-vectors.json."""
    letters = "0123456789abcdefghijklmnopqrstuvwxyz-"
    return {
        "xxh3_64": [hash_row("".join(letters[number * 7 % 37] for number in range(length))) for length in LENGTHS],
        "points": [ring_row(layer, salt, name) for layer, salt in (("model", "gpt-5-mini"), ("prompt", "friendly")) for name in IDS],
        "cohorts": [cohort_row("model", "gpt-5-mini", "tenth", share, name) for share in (0.1, 0.5) for name in IDS],
        "slots": [slot_row("model", slots, name) for slots in SLOTS for name in IDS],
        "arms": [arm_row("model", "gpt-5-mini", share, holdback, name) for share, holdback in ARMS for name in IDS],
        "pools": [pool_row(members, name) for members in POOLS for name in IDS],
    }


def drawn(count: int, seed: int) -> dict[str, Rows]:
    """As many vectors again, at random: names, ids of any length and script, shares with many digits, pools of any weights."""
    random = Random(seed)

    def word() -> str:
        return "".join(random.choices("abcxyz0189._-", k=random.randint(1, 12))).lstrip("._-") or "w"

    def name() -> str:
        alphabet = random.choice(("abc0189-", 'aäß漢字🙂é\0"\\ ', "0123456789abcdef"))
        return "".join(random.choices(alphabet, k=random.choice((0, 1, 5, 16, 36, 64, 200, 1200))))

    def share() -> float:
        return random.choice((random.random(), random.randint(0, 1000) / 1000, random.randint(0, 1 << 33) / (1 << 33)))

    def members(scale: float) -> dict[str, float]:
        return {word(): random.random() * scale + 1e-3 for _ in range(random.randint(2, 6))}

    made: dict[str, Rows] = {"xxh3_64": [], "points": [], "cohorts": [], "slots": [], "arms": [], "pools": []}
    for number in range(count):
        match number % 6:
            case 0:
                made["xxh3_64"].append(hash_row(name()))
            case 1:
                made["points"].append(ring_row(word(), word(), name()))
            case 2:
                made["cohorts"].append(cohort_row(word(), word(), word(), share(), name()))
            case 3:
                made["slots"].append(slot_row(word(), members(0.16), name()))
            case 4:
                made["arms"].append(arm_row(word(), word(), share(), random.choice((0.0, 0.0, random.random() / 2)), name()))
            case _:
                made["pools"].append(pool_row(members(100), name()))
    return made


def written(vectors: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """JSON with one vector a line: differences can be read."""
    kinds = []
    for kind, rows in vectors.items():
        lines = ",\n    ".join(json.dumps(row, ensure_ascii=False) for row in rows)
        kinds.append(f'  "{kind}": [\n    {lines}\n  ]')
    return "{\n" + ",\n".join(kinds) + "\n}\n"


if __name__ == "__main__":
    sys.stdout.write(written(published()))
