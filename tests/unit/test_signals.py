"""Signals without a word: what is asked again, and how many requests a session has; from Envoy's words to evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from extproc import contract, spec, wire
from extproc.cli.write import filled_template
from extproc.controller.signals import Repeats, SessionCounts, Signals
from extproc.domain import Arm, FeedbackTerms, Outcome, Rating, Reason, Sessions, Source, SourceKind, Spec
from extproc.errors import SpecError
from extproc.measures import MEASURES, SESSION_CAP
from extproc.pb.access_log_pb2 import StreamAccessLogsMessage
from extproc.release import Evidence, evaluate
from extproc.render import EnvoySettings, Profile, envoy_snippet
from tests.support import access_log, specs
from tests.support.outcomes import outcome
from tests.unit.test_assignment_guide import DOCS, blocks, loaded

SESSIONS = Sessions(Source(SourceKind.HEADER, "x-session-id"), 60.0)
RULES = "envoy.filters.http.header_to_metadata"
HASH = "extproc.prompt"


def asked(start: float, number: int = 0, **changes: Any) -> Outcome:
    return outcome(0, start, **({"stream_id": f"r{number}-{start}", "prompt": "5-1"} | changes))


def retries(repeats: Repeats, *outcomes: Outcome) -> list[bool]:
    return [one.retry for given in outcomes for one in repeats.mark([given])]


# ---------------------------------------------------------------------------------------------------------------------- retries
def test_the_same_prompt_of_the_same_unit_soon_after_is_a_retry() -> None:
    """Not of another unit, not another prompt, not later than the window; and one after the other each is."""
    first, soon, later = asked(100.0), asked(130.0), asked(150.0)
    assert retries(Repeats(60.0), first, soon, later) == [False, True, True]
    assert retries(Repeats(60.0), first, replace(soon, unit="other"), replace(later, prompt="5-2"), asked(160.1)) == [False] * 4
    assert retries(Repeats(60.0), first, asked(160.0)) == [False, True]


def test_each_entry_of_a_request_says_the_same() -> None:
    """A request is told of for each second that it is open: none of them repeats another; nor does one that is told of late."""
    first, again = asked(100.0, final=False), asked(105.0, final=False)
    entries = first, again, replace(first, final=True), replace(again, final=True)
    assert retries(Repeats(60.0), *entries) == [False, True, False, True]


def regenerates(repeats: Repeats, *outcomes: Outcome) -> list[bool]:
    return [one.regenerate for given in outcomes for one in repeats.mark([given])]


@pytest.mark.parametrize(
    ("first", "then", "wants_another"),
    [
        ({}, {}, True),
        ({"failed": True, "status": 500}, {}, False),
        ({"throttled": True, "status": 429}, {}, False),
        ({"client_aborted": True}, {}, False),
        ({"duration": 31.0}, {}, False),  # still open when it is asked again
        ({"duration": 30.0}, {}, True),
        ({"final": False}, {}, False),
        ({}, {"retry": True}, False),  # a library that tries again
        ({}, {"prompt": "5-2"}, False),
        ({}, {"unit": "other"}, False),
    ],
)
def test_asking_again_after_a_good_answer_is_a_regenerate(first: dict[str, Any], then: dict[str, Any], wants_another: bool) -> None:
    """Where a fault or a library explains that somebody asks again, it says nothing of the answer."""
    assert regenerates(Repeats(60.0), asked(100.0, **first), asked(130.0, **then)) == [False, wants_another]


def test_each_time_is_compared_with_the_one_before() -> None:
    """Of several; and the answer before counts though it is told of late, the same in every entry."""
    good, failed, after, late = asked(100.0), asked(110.0, failed=True), asked(120.0), asked(190.0)
    assert regenerates(Repeats(60.0), good, failed, after, late) == [False, True, False, False]
    open_, again = asked(100.0, final=False, duration=1.0), asked(105.0, final=False)
    entries = open_, again, replace(open_, final=True, duration=2.0), replace(again, final=True)
    assert regenerates(Repeats(60.0), *entries) == [False, False, False, True]


def test_who_says_nothing_is_left_alone_and_the_library_is_believed() -> None:
    """Without a hash no outcome is made anew; a retry that a client's library tells of is one without a memory."""
    plain = [outcome(1), outcome(2)]
    assert Repeats(60.0).mark(plain) is plain
    assert retries(Repeats(60.0), asked(100.0, retry=True)) == [True]


@pytest.mark.parametrize("within", [10.0, 120.0])
def test_memory_of_prompts_is_bounded(within: float) -> None:
    """By time, and by number: what is forgotten before its time is counted, the newest half stays."""
    repeats = Repeats(within, most=50)
    for number in range(1000):
        repeats.mark([asked(100.0 + number * 0.01, unit=f"{number:016x}")])
    assert len(repeats._asked) + len(repeats._before) <= 100
    assert repeats.forgotten == 900
    assert retries(repeats, asked(111.0, unit=f"{999:016x}")) == [True]
    slow = Repeats(10.0, most=50)
    for number in range(1000):
        slow.mark([asked(100.0 + number, unit=f"{number:016x}")])
    assert (slow.forgotten, len(slow._asked) + len(slow._before) <= 24) == (0, True)


# --------------------------------------------------------------------------------------------------------------------- sessions
def in_session(start: float, arm: Arm = Arm.CANARY, session: str = "s", **changes: Any) -> Outcome:
    return outcome(0, start, **({"arm": arm, "session": session, "stream_id": f"{session}-{start}"} | changes))


def told(counts: SessionCounts, *outcomes: Outcome, now: float = 10_000.0) -> list[Rating]:
    counts.hear(outcomes)
    return counts.ripe(now)


def test_a_session_is_counted_from_its_first_request_to_a_fixed_age() -> None:
    """The rating is the first request's; what begins after that age begins a session anew."""
    counts = SessionCounts(SESSIONS)
    counts.hear([in_session(start) for start in (100.0, 110.0, 160.0, 160.5)])
    assert counts.ripe(100.0 + SESSIONS.counted_at - 0.1) == []
    (rating,) = counts.ripe(100.0 + SESSIONS.counted_at)
    assert (rating.stream_id, rating.start, rating.arm, rating.measure) == ("s-100.0", 100.0, Arm.CANARY, "session_length")
    assert rating.value == 3 / SESSION_CAP
    (again,) = told(counts, in_session(170.0))
    assert (again.start, again.value, counts.open) == (170.0, 1 / SESSION_CAP, 0)


def test_a_session_weighs_so_much_and_no_more() -> None:
    """A program that never ends its session is one of many."""
    (rating,) = told(SessionCounts(SESSIONS), *(in_session(100.0 + number) for number in range(50)))
    assert rating.value == 1.0


def test_a_request_counts_once_and_when_it_has_ended() -> None:
    """Entries of open requests begin a session, and are no further requests of it; of one that never ended nothing is told."""
    open_ = in_session(100.0, final=False)
    (rating,) = told(SessionCounts(SESSIONS), open_, open_, replace(open_, final=True))
    assert rating.value == 1 / SESSION_CAP
    assert told(SessionCounts(SESSIONS), open_) == []


def test_only_what_is_compared_is_counted() -> None:
    """Arms of one size, where the ring decided; and nobody speaks for the session of another unit."""
    others = in_session(100.0, Arm.REST), in_session(100.0, reason=Reason.OVERRIDE), in_session(100.0, session="")
    assert told(SessionCounts(SESSIONS), *others) == []
    two = told(SessionCounts(SESSIONS), in_session(100.0), in_session(101.0, unit="f" * 16))
    assert [rating.value for rating in two] == [1 / SESSION_CAP] * 2


def test_memory_of_sessions_is_bounded() -> None:
    """What finds no room is counted, and known sessions go on."""
    counts = SessionCounts(SESSIONS, most=2)
    counts.hear([in_session(100.0 + number, session=f"s{number}") for number in range(5)])
    counts.hear([in_session(110.0, session="s0")])
    assert (counts.open, counts.dropped) == (2, 3)
    assert [rating.value for rating in counts.ripe(1000.0)] == [2 / SESSION_CAP, 1 / SESSION_CAP]


def test_another_spec_changes_what_it_says_and_nothing_else() -> None:
    """Sessions go on where the Spec says the same of them."""
    signals = Signals()
    signals.follow(60.0, SESSIONS)
    signals.hear([in_session(100.0), asked(100.0)])
    signals.follow(60.0, SESSIONS)
    assert [one.retry for one in signals.hear([asked(110.0)])] == [True]
    assert len(signals.ripe(1000.0)) == 1
    signals.hear([in_session(100.0)])
    signals.follow(60.0, None)
    assert signals.ripe(1000.0) == []


# --------------------------------------------------------------------------------------------------------------------- evidence
ROLLOUT = replace(specs.gated("session_length"), matures={"session_length": SESSIONS.looked_at}, cohorts=(specs.cohort("everyone"),))


def test_sentences_speak_of_requests() -> None:
    """Ratings are shares of the cap; people read requests, in the sentence and in the numbers."""
    evidence = Evidence(ROLLOUT, 8.0)
    evidence.begin_visit(2, 1)
    for number in range(4000):
        for arm, requests in ((Arm.CANARY, 2 + number % 3), (Arm.CONTROL, 4 + number % 3)):
            value = requests / SESSION_CAP
            unit = f"{number:016x}"
            evidence.hear(Rating("session_length", f"{arm}-{number}", "new", 2, "everyone", arm, unit, 1000.0 + number / 10, value))
    evidence.advance(10_000.0)
    (finding,) = [one for one in evaluate(ROLLOUT, evidence) if one.gate == "session_length"]
    assert finding.sentence.startswith(
        "session_length: canary 3.00 requests (of 4,000), stable 5.00 requests (of 4,000): -2.00 requests (-40.0%)"
    )
    assert finding.canary_value == pytest.approx(3.0, rel=0.01)
    assert finding.estimate == pytest.approx(-2.0, rel=0.01)
    assert finding.verdict == "fail"


def test_asking_again_and_leaving_are_events() -> None:
    """An answer that never began cannot be abandoned, and says nothing."""
    retries, abandons = MEASURES["retries"].read, MEASURES["abandons"].read
    assert retries is not None
    assert abandons is not None
    assert [retries(outcome(retry=said), None) for said in (True, False)] == [1.0, 0.0]
    left, unseen = outcome(client_aborted=True), outcome(client_aborted=True, ttft=None)
    assert [abandons(one, None) for one in (left, outcome(), unseen)] == [1.0, 0.0, None]


# ------------------------------------------------------------------------------------------------------------------ Envoy's words
def heard(**signals: str) -> Outcome:
    sent = access_log.entry(access_log.request(0, 100.0))
    if signals:
        sent.common_properties.metadata.filter_metadata[contract.SIGNALS_NAMESPACE].update(signals)
    message = StreamAccessLogsMessage()
    message.http_logs.log_entry.append(sent)
    (one,), _, _ = wire.read_outcomes(message.SerializeToString())
    return one


def test_signals_are_read_from_the_access_log() -> None:
    """A session's id is hashed as it is read; a first try is no retry, and neither is nonsense."""
    assert (heard().prompt, heard().session, heard().retry) == ("", "", False)
    one = heard(prompt="12-345", session="secret", retry="2")
    assert (one.prompt, one.retry, len(one.session), "secret" in repr(one)) == ("12-345", True, 16, False)
    assert one.session == heard(session="secret").session != heard(session="another").session
    assert [heard(retry=said).retry for said in ("0", "00", "", "-1", "many", "1")] == [False] * 5 + [True]


# ------------------------------------------------------------------------------------------------------------------------- Spec
def written(gates: dict[str, Any] | None = None, **blocks: Any) -> Spec:
    values = yaml.safe_load(filled_template("chat", "old", "new"))
    if gates is not None:
        values["rollouts"]["new"]["gates"] = gates
    return spec.load(yaml.safe_dump(values | blocks, sort_keys=False))


def filters(given: Spec, profile: Profile = Profile.FULL) -> dict[str, Any]:
    found = yaml.safe_load(envoy_snippet(given, EnvoySettings(profile=profile), "a test"))["http_filters"]
    return {one["name"]: one["typed_config"] for one in found}


def test_envoy_looks_only_at_what_is_compared() -> None:
    """By default at nothing of this; a session's header or cookie; the hash where retries are a gate or have a ceiling."""
    assert not {RULES, HASH} & set(filters(written()))
    by_header, by_cookie = written(sessions={"header": "X-Session"}), written(sessions={"cookie": "sid"})
    into = {"metadata_namespace": "extproc.signals", "key": "session", "type": "STRING"}
    assert filters(by_header)[RULES]["request_rules"] == [{"header": "x-session", "on_header_present": into}]
    assert filters(by_cookie)[RULES]["request_rules"] == [{"cookie": "sid", "on_header_present": into}]
    assert HASH not in filters(by_header)
    asking = filters(written({"retries": {}}), Profile.CORE)
    another = filters(written({"regenerates": {}}), Profile.CORE)
    assert (another[RULES], another[HASH]) == (asking[RULES], asking[HASH])
    assert asking[RULES]["request_rules"][0]["header"] == "x-stainless-retry-count"
    assert "bodyChunks" in asking[HASH]["default_source_code"]["inline_string"]
    assert RULES not in filters(written({"errors": {}}, sessions={"header": "x-session"}))


def test_sessions_are_compared_where_their_ids_are_known() -> None:
    """By default; and each is looked at when everything of it has been heard of."""
    rollout = written(sessions={"header": "x-session-id", "lasts": "10m"}).rollouts["new"]
    assert "session_length" in [gate.measure for gate in rollout.phases[0].gates]
    assert rollout.matures == {"session_length": 610.0}
    assert written(sessions={"header": "x-session-id"}).sessions == Sessions(Source(SourceKind.HEADER, "x-session-id"), 1800.0)
    assert written({"errors": {}}, sessions={"header": "x-session-id"}).rollouts["new"].matures == {}
    assert (written().asked_again, written(retries={"within": "30s"}).asked_again) == (120.0, 30.0)


def test_the_guides_blocks_can_be_copied() -> None:
    """Each YAML block of docs/feedback.md fits into the first Spec of the guide to assignment, and its comments are what the code does."""
    users, signals = blocks((DOCS / "feedback.md").read_text(encoding="utf-8"), "yaml")
    given, usual = loaded(users), loaded("feedback: {}").feedback
    assert given.feedback == FeedbackTerms(3600.0, ("https://chat.example.com",), "/etc/extproc/feedback.keys", False, tokens=True)
    assert usual == FeedbackTerms(3600.0, (), "", False)
    said, plain = loaded(signals), loaded("sessions: {header: x-session-id}")
    assert (said.asked_again, said.sessions) == (plain.asked_again, plain.sessions)


def test_a_session_has_one_place() -> None:
    """Header or cookie, and not both."""
    for block in ({}, {"header": "x-a", "cookie": "b"}):
        with pytest.raises(SpecError, match="name one of them"):
            written(sessions=block)
