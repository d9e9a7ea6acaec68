"""A Spec with everything at once, and its requests: 20 cohorts of every kind, 3 layers, a list of 100,000 ids, an imported flag.

Nobody writes such a Spec. It shows what the parts cost together, and that the largest cost no more than the smallest: most requests are
asked of all 20 cohorts before the last one has them.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Final

import yaml

from extproc import contract, wire
from extproc import spec as spec_room
from extproc.assign import derive, prepare
from extproc.pb.ext_proc_pb2 import ProcessingRequest
from extproc.router.processor import Processor
from loadtest.messages import EXAMPLE, example_state

IDS: Final = 100_000
PHASE: Final = "25%"
LIST: Final = "friends.txt"
FLAGS: Final = "flags.json"
COHORTS: Final[tuple[dict[str, Any], ...]] = (
    {"name": "staff", "tier": ["internal"], "exclude": {"header": {"x-contract": ["no-experiments"]}}},
    {"name": "listed", "ids_file": LIST, "share": "60%"},
    {"name": "named", "ids": ["u-alice", "u-bob"]},
    {"name": "flagged", "flag": {"source": "ours", "key": "new-model"}},
    {"name": "engineers", "claim": {"realm.roles": ["engineering"]}},
    {"name": "opted-in", "cookie": {"beta": ["1"]}},
    {"name": "england", "region": ["GB-ENG"], "multiplier": 2},
    {"name": "office", "asn": [3320, 64512]},
    {"name": "alps", "country": ["AT", "CH"], "tier": ["paid"]},
    {"name": "agents", "path": ["/v1/agents/"]},
    {"name": "first-tenth", "random": "10%", "country": ["NZ", "AU"]},
    {"name": "combined", "any": [{"tier": ["beta"]}, {"all": [{"country": ["FR"]}, {"random": "50%"}]}]},
    {"name": "europe", "country": ["EU"], "not": {"country": ["DE", "FR"]}},
    {"name": "late", "tier": ["late"], "from": "50%"},
    {"name": "header", "header": {"x-flag": ["on", "yes"]}},
    {"name": "paid", "tier": ["paid"], "shares": {"1%": "5%", "25%": "30%"}},
    {"name": "germany", "country": ["DE"], "exclude": {"random": "5%"}},
)
"""Of the layer `model`, before everybody; the other two layers have one more each."""


def document() -> dict[str, Any]:
    """The example's Spec with all of that."""
    values: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    (name,) = values["rollouts"]
    rollout = values["rollouts"][name]
    values["listener"]["jwt"] = {"issuer": "https://id.example", "jwks_uri": "https://id.example/keys"}
    values["flags"] = {"ours": {"vendor": "unleash", "file": FLAGS, "attributes": {"tier": {"header": "x-user-tier"}}}}
    for layer, cohort in (("prompt", {"name": "some", "random": "50%"}), ("retrieval", {"name": "paid", "tier": ["paid"]})):
        values["rollouts"][layer] = copy.deepcopy(rollout) | {"layer": layer, "stable": "plain", "canary": "other", "cohorts": [cohort]}
    rollout["cohorts"] = [*copy.deepcopy(COHORTS), {"name": "everyone"}]
    return values


def flags() -> dict[str, Any]:
    """What Unleash exports: a gradual rollout for one tier."""
    constraint = {"contextName": "tier", "operator": "IN", "values": ["gold", "silver"]}
    parameters = {"rollout": "40", "stickiness": "userId", "groupId": "new-model"}
    strategy = {"name": "flexibleRollout", "constraints": [constraint], "parameters": parameters}
    feature = {"name": "new-model", "type": "release", "enabled": True, "strategies": [strategy], "variants": []}
    return {"version": 2, "features": [feature], "segments": []}


def write(directory: Path) -> Path:
    """The Spec's file, and those that it names."""
    (directory / LIST).write_text("".join(f"friend-{number}\n" for number in range(IDS)), encoding="utf-8")
    (directory / FLAGS).write_text(json.dumps(flags()), encoding="utf-8")
    path = directory / "everything.yaml"
    path.write_text(yaml.safe_dump(document(), sort_keys=False), encoding="utf-8")
    return path


def message(user: int) -> bytes:
    """What Envoy sends for a user: the headers that the Spec needs, and the requested model. Every ninth is on the list; one in three is
    staff, gold or paid, and the rest meets cohort after cohort until the last."""
    made = ProcessingRequest()
    headers = {
        ":path": "/v1/chat/completions",
        "x-user-id": f"friend-{user}" if not user % 9 else f"user-{user}",
        "x-user-tier": {0: "internal", 3: "gold", 6: "paid"}.get(user % 10, "free"),
        "x-geo-country": "DE" if user % 7 == 1 else "US",
        "x-geo-region": "CA",
        "x-geo-asn": "701",
        "cookie": f"theme=dark; session={user:08x}",
        "x-flag": "off",
        contract.REQUEST_ID_HEADER: f"{user:08x}-35c9-4c7c-aa4e-1199abaafa0e",
    }
    for name, value in headers.items():
        made.request_headers.headers.headers.add(key=name, raw_value=value.encode())
    made.metadata_context.filter_metadata[contract.REQUEST_NAMESPACE].update({contract.REQUEST_MODEL_FIELD: "gpt-4o"})
    return made.SerializeToString()


def processor(directory: Path) -> Processor:
    """What a worker runs under it at 25 %."""
    spec = spec_room.read(str(write(directory)))
    return Processor(derive(prepare(spec), example_state(spec), wire.encode_reply), bytes(32))
