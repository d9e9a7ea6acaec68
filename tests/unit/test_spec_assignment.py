"""What a Spec says of who meets the canary, as nouns: selectors, shares by phase, pools, slots, conversations, overrides, files."""

from __future__ import annotations

import copy
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc import spec
from extproc.domain import (
    Affinity,
    AffinityPolicy,
    AllOf,
    Among,
    AnyOf,
    Attribute,
    AttributeType,
    Backend,
    Bucketing,
    Conversation,
    Cookie,
    Credential,
    Endpoint,
    Fact,
    FactKind,
    FlagIs,
    Ids,
    Not,
    OnFailure,
    Overrides,
    PathStarts,
    Poll,
    RandomShare,
    Regions,
    RollbackPolicy,
    Rollout,
    Selector,
    Source,
    SourceKind,
    Spec,
    Unit,
    shown,
)
from extproc.errors import SpecError
from extproc.spec.bundle import parted

EXAMPLE = Path(__file__).parents[2] / "envoy" / "release.yaml"
NAME = "gpt-5-mini"
TIER, COUNTRY = Fact(FactKind.HEADER, "x-user-tier"), Fact(FactKind.HEADER, "x-geo-country")


def example() -> Any:
    return yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))


def load(values: Any) -> Spec:
    return spec.load(yaml.safe_dump(values, sort_keys=False))


def with_rollout(**changes: Any) -> Rollout:
    """The example's rollout, changed."""
    values = example()
    values["listener"]["jwt"] = {"issuer": "https://id.example", "jwks_file": "/keys.json"}
    values["flags"] = {"ours": {"vendor": "unleash", "poll": {"url": "https://flags.example"}}}
    values["identity"] = {"country_groups": {"IBERIA": ["ES", "PT"], "NORDICS": ["SE"]}}
    values["models"]["gpt-4o"]["send_model"] = "gpt-4o"
    values["rollouts"][NAME] |= changes
    return load(values).rollouts[NAME]


def selected(**written: Any) -> Selector | None:
    """The selector of a cohort."""
    return with_rollout(cohorts=[{"name": "one", **written}, *([{"name": "rest"}] if written else [])]).cohorts[0].selector


# --------------------------------------------------------------------------------------------------------------------- selectors
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({}, None),
        ({"country": ["DE", "FR"]}, Among(COUNTRY, ("DE", "FR"))),
        ({"country": ["DACH", "DE", "IBERIA"]}, Among(COUNTRY, ("AT", "CH", "DE", "ES", "PT"))),
        ({"country": ["NORDICS"]}, Among(COUNTRY, ("SE",))),
        ({"region": ["GB-ENG", "US-CA"]}, Regions("x-geo-country", "x-geo-region", ("GB-ENG", "US-CA"))),
        ({"asn": [3320, 4294967295]}, Among(Fact(FactKind.HEADER, "x-geo-asn"), ("3320", "4294967295"))),
        ({"tier": "gold"}, Among(TIER, ("gold",))),
        ({"header": {"X-Beta": "1"}}, Among(Fact(FactKind.HEADER, "x-beta"), ("1",))),
        ({"cookie": {"Beta": ["1"]}}, Among(Fact(FactKind.COOKIE, "Beta"), ("1",))),
        ({"claim": {"realm_access.roles": "staff"}}, Among(Fact(FactKind.CLAIM, "realm_access.roles"), ("staff",))),
        ({"model": "o3"}, Among(Fact(FactKind.MODEL), ("o3",))),
        ({"path": ["/v1/", "/v2/"]}, PathStarts(("/v1/", "/v2/"))),
        ({"ids": ["b", "a", "b"]}, Ids(("a", "b"), "")),
        ({"random": "12.5%"}, RandomShare(0.125)),
        ({"flag": {"source": "ours", "key": "beta"}}, FlagIs("ours", "beta", ())),
        ({"flag": {"source": "ours", "key": "beta", "variants": "blue"}}, FlagIs("ours", "beta", ("blue",))),
        ({"not": {"tier": "gold"}}, Not(Among(TIER, ("gold",)))),
        ({"tier": "gold", "random": "5%"}, AllOf((Among(TIER, ("gold",)), RandomShare(0.05)))),
        (
            {"any": [{"tier": "gold", "country": ["DE"]}, {"not": {"random": "5%"}}]},
            AnyOf((AllOf((Among(COUNTRY, ("DE",)), Among(TIER, ("gold",)))), Not(RandomShare(0.05)))),
        ),
        ({"all": [{"tier": "gold"}]}, AllOf((Among(TIER, ("gold",)),))),
    ],
)
def test_what_a_selector_means(written: dict[str, Any], meant: Selector | None) -> None:
    """Every way to say who; all that is given holds together; a group of the Spec's own wins over one of ours."""
    assert selected(**written) == meant


def test_who_is_never_in() -> None:
    """A selector of its own, beside the cohort's."""
    (cohort, *_) = with_rollout(cohorts=[{"name": "eu", "country": ["EU"], "exclude": {"country": ["IE"]}}, {"name": "rest"}]).cohorts
    assert cohort.exclude == Among(COUNTRY, ("IE",))
    assert isinstance(cohort.selector, Among)
    assert len(cohort.selector.values) == 27


def test_a_selector_is_told_as_people_say_it() -> None:
    """`explain` and reports: every kind, brackets where they are needed, long lists cut."""
    told = shown(
        selected(
            any=[
                {"tier": "gold", "country": ["EU"]},
                {"not": {"path": ["/a", "/b"]}},
                {"ids": ["x"]},
                {"random": "5%"},
                {"region": ["GB-ENG"]},
                {"flag": {"source": "ours", "key": "beta", "variants": ["blue"]}},
                {"flag": {"source": "ours", "key": "beta"}},
                {"model": "o3"},
            ]
        )
    )
    assert told == (
        "(header x-geo-country is AT, BE, BG, CY, CZ or one of 22 more and header x-user-tier is gold) or not path starts with /a, /b"
        " or id is in a list (1 ids) or a random 0.05 of units or region is GB-ENG or flag ours/beta gives blue or flag ours/beta is on"
        " or model is o3"
    )
    assert shown(None) == "everybody"


# ------------------------------------------------------------------------------------------------------------------------ shares
@pytest.mark.parametrize(
    ("written", "shares"),
    [
        ({}, (0.01, 0.05, 0.25, 0.5, 1.0)),
        ({"from": "25%"}, (0.0, 0.0, 0.25, 0.5, 1.0)),
        ({"from": "100%"}, (0.0, 0.0, 0.0, 0.0, 1.0)),
        ({"share": "60%"}, (0.6,) * 5),
        ({"share": "60%", "from": "5%"}, (0.0, 0.6, 0.6, 0.6, 0.6)),
        ({"multiplier": 3}, (0.03, 0.15000000000000002, 0.75, 1.0, 1.0)),
        ({"multiplier": 0.5, "from": "5%"}, (0.0, 0.025, 0.125, 0.25, 0.5)),
        ({"shares": {"1%": "10%", "25%": "20%"}}, (0.1, 0.1, 0.2, 0.5, 1.0)),
        ({"shares": {"1%": "0%", "5%": "100%"}}, (0.0, 1.0, 1.0, 1.0, 1.0)),
        ({"shares": {"25%": "30%"}, "from": "5%"}, (0.0, 0.05, 0.3, 0.5, 1.0)),
    ],
)
def test_the_share_of_a_cohort_by_phase(written: dict[str, Any], shares: tuple[float, ...]) -> None:
    """The phase's, its own, or the phase's times a number; 0 before it takes part; where nothing is said it does not fall."""
    assert with_rollout(cohorts=[{"name": "staff", "tier": "x", **written}, {"name": "rest"}]).cohorts[0].shares == shares


# --------------------------------------------------------------------------------------------------------- pools, slots and salts
def test_a_pool_has_weights_and_hosts_of_its_own() -> None:
    """Each member is a cluster; over TLS its own host is named, whatever the others do."""
    values = example()
    values["models"]["gpt-4o"] = {
        "pool": [
            {"cluster": "east", "weight": 3, "endpoint": {"host": "east.example", "port": 443, "tls": True}},
            {"cluster": "west", "endpoints": [{"host": "10.0.0.1", "port": 80}, {"host": "10.0.0.2", "port": 80}]},
            {"cluster": "else", "weight": 0.5, "host_rewrite": "h.example"},
        ],
        "affinity": {"policy": "ring_hash", "header": "X-Talk"},
    }
    model = load(values).models["gpt-4o"]
    assert [(one.cluster, one.weight, one.host_rewrite, len(one.endpoints)) for one in model.backends] == [
        ("east", 3.0, "east.example", 1), ("west", 1.0, None, 2), ("else", 0.5, "h.example", 0)
    ]  # fmt: skip
    assert model.affinity == Affinity(AffinityPolicy.RING_HASH, "x-talk")
    plain = load(example()).models["gpt-4o"]
    assert plain.backends == (
        Backend("gpt-4o", 1.0, (Endpoint("api.openai.com", 443, plain.backends[0].endpoints[0].tls),), "api.openai.com"),
    )


@pytest.mark.parametrize("shares", [["50%", "50%"], ["10%"] * 10, ["33.3%", "33.3%", "33.4%"], ["10%", "20%", "70%"], ["0.1%", "3%"]])
def test_slots_meet_to_the_bit(shares: list[str]) -> None:
    """Each begins where the one before ends, exactly: nobody is in two, and nobody between them."""
    values = example()
    values["layers"] = {"model": {"slots": {f"slot-{index}": share for index, share in enumerate(shares)}}}
    slots = list(load(values).layers["model"].values())
    assert slots[0][0] == 0.0
    for (_, end), (begin, _) in pairwise(slots):
        assert end == begin
    assert slots[-1][1] == pytest.approx(sum(float(share.rstrip("%")) for share in shares) / 100)


def test_a_re_run_has_the_salt_of_the_rollout_that_it_names() -> None:
    """Also where that one has another salt than its name."""
    values = example()
    first = values["rollouts"][NAME] | {"salt": "autumn", "match": {"paths": ["/first"]}}
    again = copy.deepcopy(first) | {"match": {"paths": ["/again"]}, "reuse_salt_of": "first"}
    del again["salt"]
    values["rollouts"] = {"again": again, "first": first}
    assert {name: one.salt for name, one in load(values).rollouts.items()} == {"again": "autumn", "first": "autumn"}


def test_vendors_hashes_do_not_know_our_layers() -> None:
    """The same salt in two layers is the same users under a vendor's bucket, and others under ours."""
    values = example()
    values["rollouts"][NAME]["salt"] = "s"
    values["rollouts"]["tone"] = copy.deepcopy(values["rollouts"][NAME]) | {"layer": "prompt"}
    assert [one.salt for one in load(values).rollouts.values()] == ["s", "s"]
    for rollout in values["rollouts"].values():
        rollout["bucket"] = "growthbook"
    with pytest.raises(SpecError, match=r"spec\.same-salt"):
        load(values)


# ------------------------------------------------------------------------------------------------------ units and conversations
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("request", Unit("request", (), None)),
        ("tenant", Unit("tenant", (Source(SourceKind.HEADER, "x-tenant-id"), Source(SourceKind.API_KEY, "authorization")), None)),
        ({"kind": "seat", "sources": [{"claim": "seat.id"}]}, Unit("seat", (Source(SourceKind.CLAIM, "seat.id"),), None)),
        (
            "conversation",
            Unit(
                "conversation",
                (Source(SourceKind.HEADER, "x-conversation-id"), Source(SourceKind.COOKIE, "llm_conversation_id")),
                Cookie("llm_conversation_id", 365 * 86400, "Path=/; HttpOnly; Secure; SameSite=Lax"),
            ),
        ),
    ],
)
def test_units_and_their_usual_sources(written: Any, meant: Unit) -> None:
    """One word is enough for the usual kinds; another kind says where its ids come from."""
    assert with_rollout(unit=written).unit == meant


def test_a_conversation_with_all_defaults() -> None:
    """A header, four hours, moved by every rollback; the usual fields of provider-side state."""
    assert with_rollout(conversation={}).conversation == Conversation(
        header="x-conversation-token",
        cookie=None,
        id=None,
        lifetime=4 * 3600.0,
        on_quality_rollback=RollbackPolicy.MOVE,
        state_fields=("previous_response_id", "conversation", "thread_id"),
        state_paths=("/v1/threads/",),
    )


@pytest.mark.parametrize(
    ("state", "lifetime", "max_age"),
    [({}, "1h", 30 * 86400), ({"state_fields": [], "state_paths": []}, "1h", 3600), ({}, "30d", 30 * 86400)],
)
def test_a_tokens_cookie_lives_as_long_as_the_token_counts(state: dict[str, Any], lifetime: str, max_age: int) -> None:
    """Where a provider may keep state a token counts beyond its lifetime: a browser that had thrown it away could not bring it."""
    written = {"cookie": "talk", "id": {"header": "X-Talk"}, "lifetime": lifetime, "on_quality_rollback": "drain", **state}
    found = with_rollout(conversation=written).conversation
    assert found is not None
    assert found.cookie == Cookie("talk", max_age, "Path=/; HttpOnly; Secure; SameSite=Lax")
    assert (found.header, found.id, found.on_quality_rollback) == (None, Source(SourceKind.HEADER, "x-talk"), RollbackPolicy.DRAIN)


def test_conversations_of_requests_that_never_meet_may_be_in_two_layers() -> None:
    """Only where one answer would hand out two tokens is that refused."""
    values = example()
    values["rollouts"][NAME]["conversation"] = {}
    values["rollouts"]["tone"] = copy.deepcopy(values["rollouts"][NAME]) | {"layer": "prompt", "match": {"paths": ["/v1/other"]}}
    assert all(one.conversation is not None for one in load(values).rollouts.values())


# ------------------------------------------------------------------------------------------------------------- by hand and the rest
def test_overrides_and_the_rest_of_a_rollout() -> None:
    """Lists from the Spec and from a file are one list; secrets are references."""
    found = with_rollout(
        overrides={"qa": {"secret": {"env": "QA"}}, "stable": ["b", "a"], "canary": "c"}, on_canary_failure="stable", bucket="flagd"
    )
    assert found.overrides == Overrides("x-canary-qa", Credential("", "", None, "QA"), Ids(("a", "b"), ""), Ids(("c",), ""))
    assert (found.on_canary_failure, found.bucket) == (OnFailure.STABLE, Bucketing.FLAGD)
    plain = with_rollout()
    assert plain.overrides == Overrides("", None, None, None)
    assert (plain.on_canary_failure, plain.bucket, plain.conversation, plain.slot) == (OnFailure.ANSWER, Bucketing.EXTPROC, None, None)


def test_attributes_of_flags() -> None:
    """The vendor's own id is the unit, unless the Spec says otherwise; types are strings unless told."""
    values = example()
    attributes = {"userId": {"cookie": "uid"}, "age": {"header": "X-Age", "type": "number"}, "again": "unit"}
    values["flags"] = {"ours": {"vendor": "unleash", "poll": {"url": "https://f.example", "every": "30s"}, "attributes": attributes}}
    source = load(values).flags["ours"]
    assert source.poll == Poll("https://f.example", None, 30.0)
    assert source.document is None
    assert source.attributes == {
        "userId": Attribute(Fact(FactKind.COOKIE, "uid"), AttributeType.STRING),
        "age": Attribute(Fact(FactKind.HEADER, "x-age"), AttributeType.NUMBER),
        "again": Attribute(None, AttributeType.STRING),
    }
    for vendor, name in (("launchdarkly", "key"), ("growthbook", "id"), ("flagd", "targetingKey")):
        values["flags"] = {"ours": {"vendor": vendor, "poll": {"url": "https://f.example"}}}
        assert load(values).flags["ours"].attributes == {name: Attribute(None, AttributeType.STRING)}


EDITS: dict[str, dict[str, Any]] = {
    "salt": {"salt": "other"},
    "unit": {"unit": "tenant"},
    "models": {"canary": "gpt-4o", "stable": "gpt-5-mini"},
    "phases": {"phases": [{"share": "10%"}, {"share": "100%"}]},
    "holdback": {"holdback": "5%"},
    "conversation": {"conversation": {}},
    "overrides": {"overrides": {"stable": ["u1"]}},
    "on failure": {"on_canary_failure": "stable"},
    "bucket": {"bucket": "unleash"},
    "all": {"cohorts": [{"name": "a", "all": [{"tier": "x"}, {"country": ["DE"]}]}, {"name": "b"}]},
    "any": {"cohorts": [{"name": "a", "any": [{"tier": "x"}, {"country": ["DE"]}]}, {"name": "b"}]},
    "exclude": {"cohorts": [{"name": "a", "exclude": {"any": [{"tier": "x"}, {"country": ["DE"]}]}}]},
    "exclude all": {"cohorts": [{"name": "a", "exclude": {"all": [{"tier": "x"}, {"country": ["DE"]}]}}]},
    "cohort or claim": {"cohorts": [{"name": "a", "claim": {"x-user-tier": "x"}}, {"name": "b"}]},
    "cohort or header": {"cohorts": [{"name": "a", "header": {"x-user-tier": "x"}}, {"name": "b"}]},
    "cohort or cookie": {"cohorts": [{"name": "a", "cookie": {"x-user-tier": "x"}}, {"name": "b"}]},
    "a share": {"cohorts": [{"name": "a", "header": {"x-user-tier": "x"}, "share": "50%"}, {"name": "b"}]},
    "a from": {"cohorts": [{"name": "a", "header": {"x-user-tier": "x"}, "from": "5%"}, {"name": "b"}]},
}


def test_every_edit_of_a_rollout_has_a_fingerprint_of_its_own() -> None:
    """While it runs none of this may change unseen: `any` for `all` neither."""
    prints = {name: spec.fingerprint(with_rollout(**changes)) for name, changes in EDITS.items()}
    prints["nothing"] = spec.fingerprint(with_rollout())
    assert len(set(prints.values())) == len(prints)


def test_the_header_behind_a_cohort_is_part_of_its_rollout() -> None:
    """Another tier header is another cohort: the fingerprint of every rollout that looks at it tells."""
    values = example()
    before = load(values)
    values["identity"] = {"tier_header": "x-plan"}
    assert spec.fingerprint(load(values).rollouts[NAME]) != spec.fingerprint(before.rollouts[NAME])


# ------------------------------------------------------------------------------------------------------------------------- files
def written(path: Path, **changes: Any) -> str:
    """A Spec's file whose rollout is changed."""
    values = example()
    values["rollouts"][NAME] |= changes
    file = path / "release.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return str(file)


def test_ids_from_a_file_and_from_the_spec_are_one_list(tmp_path: Path) -> None:
    """One an id a line; blanks around them, comments and a byte order mark do not count; the digest follows the file's content."""
    (tmp_path / "lists").mkdir()
    ids = tmp_path / "lists" / "friends.txt"
    ids.write_bytes(b"\xef\xbb\xbfu1\r\n# a comment\n\n  u3  \nu2\nu\xc3\xbc\n")
    path = written(tmp_path, cohorts=[{"name": "friends", "ids": ["u9"], "ids_file": "lists/friends.txt"}, {"name": "rest"}])
    loaded = spec.read(path)
    assert loaded.rollouts[NAME].cohorts[0].selector == Ids(("u1", "u2", "u3", "u9", "uü"), "lists/friends.txt")
    ids.write_text("u1\n")
    again = spec.read(path)
    assert again.digest != loaded.digest
    assert spec.fingerprint(again.rollouts[NAME]) != spec.fingerprint(loaded.rollouts[NAME])
    assert spec.beside(path) == (str(ids),)


@pytest.mark.parametrize(
    "spelling", ["ids_file: friends.txt", '"ids_file": friends.txt', "'ids_file' : friends.txt", "? ids_file\n      : friends.txt"]
)
def test_however_the_key_is_spelled_the_file_is_read(tmp_path: Path, spelling: str) -> None:
    """YAML knows several ways to write a key."""
    (tmp_path / "friends.txt").write_text("u1\n")
    path = Path(written(tmp_path, cohorts=[{"name": "friends", "ids_file": "friends.txt"}, {"name": "rest"}]))
    path.write_text(path.read_text().replace("ids_file: friends.txt", spelling))
    assert spec.read(str(path)).rollouts[NAME].cohorts[0].selector == Ids(("u1",), "friends.txt")


def test_a_bundle_is_the_spec_for_everybody_else(tmp_path: Path) -> None:
    """One text with its files: what is published and told to workers loads alike, and every YAML parser still reads it."""
    (tmp_path / "in.txt").write_text("u1\nü2\n", encoding="utf-8")
    (tmp_path / "never.txt").write_text("u3\n")
    cohorts = [{"name": "some", "any": [{"ids_file": "in.txt"}, {"not": {"ids_file": "never.txt"}}]}, {"name": "rest"}]
    path = written(tmp_path, cohorts=cohorts, overrides={"stable_file": "never.txt", "canary_file": "in.txt"})
    bundle = spec.read_text(path)
    assert spec.load(bundle) == spec.read(path)
    assert yaml.safe_load(bundle) == yaml.safe_load(Path(path).read_text())
    text, files = parted(bundle)
    assert text == Path(path).read_text()
    assert files == {"in.txt": "u1\nü2\n", "never.txt": "u3\n"}
    found = spec.load(bundle).rollouts[NAME].overrides
    assert (found.stable, found.canary) == (Ids(("u3",), "never.txt"), Ids(("u1", "ü2"), "in.txt"))
    assert spec.read_text(str(EXAMPLE)) == EXAMPLE.read_text(encoding="utf-8"), "a Spec without files is just its YAML"


def test_a_file_that_is_no_text_is_told_with_its_line(tmp_path: Path) -> None:
    """Latin-1, a folder, a name that no file has: the same problem, and no traceback."""
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    (tmp_path / "folder").mkdir()
    for name in ("latin.txt", "folder", "a\0b"):
        path = written(tmp_path, cohorts=[{"name": "friends", "ids_file": name}, {"name": "rest"}])
        with pytest.raises(SpecError) as caught:
            spec.read(path)
        ids = {problem.id for problem in caught.value.problems}
        assert ids <= {"spec.file", "spec.value"}
        assert all(problem.line for problem in caught.value.problems)
