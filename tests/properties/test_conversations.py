"""Laws of open conversations and of overrides: who stays, who moves, who is named by hand; and that none of it becomes evidence."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.assign import Answer, Fate, Snapshot, sign_qa
from extproc.assign.tokens import Signer
from extproc.domain import Arm, Cookie, Reason, Source, SourceKind, Status
from extproc.release.evidence import COUNTED
from tests.support.assigning import NOW, SECRETS, ask, compiled, found, users
from tests.support.specs import SHARES, cohort, conversation, ids, overrides, rollout, tiers

law = settings(max_examples=150, deadline=None, derandomize=True)
HOUR = 3600
TOKEN = {"conversation": conversation(), "cohorts": (cohort("gold", tiers("gold"), ids("banned")), cohort("all"))}
PEOPLE = users(40)
EXPOSING = (Status.PROGRESSING, Status.PAUSED, Status.AWAITING_APPROVAL)
QA = sign_qa(SECRETS.qa["new"], "new", Arm.CANARY, int(NOW) + HOUR)
QA_STABLE = sign_qa(SECRETS.qa["new"], "new", Arm.CONTROL, int(NOW) + HOUR)


def snapshot(share: float = 0.5, status: Status = Status.PROGRESSING, withdrawn: bool = False, **changes: object) -> Snapshot:
    state = {name: changes.pop(name) for name in ("epoch", "cohorts_out") if name in changes}
    given_rollout = rollout(**{**TOKEN, **changes})
    return compiled(given_rollout, share=share, status=status, secrets=SECRETS, withdrawn=("new",) if withdrawn else (), **state)


def token(canary: bool, user: str, epoch: int = 0, expiry: int = int(NOW) + HOUR, key: bytes = SECRETS.conversation) -> str:
    """As a router hands it out, bound to a user."""
    return Signer(key, "model", "new", "new").sign(canary, epoch, expiry, b"u", user.encode()).decode()


def fate(answer: Answer | None) -> Fate:
    assert answer is not None
    return answer.note.fate if answer.note is not None else Fate.NONE


def issued(answer: Answer | None) -> str:
    assert answer is not None
    return answer.note.token.decode() if answer.note is not None else ""


# ------------------------------------------------------------------------------------------------------------------ conversations
@pytest.mark.parametrize("late", [False, True])
def test_a_conversation_keeps_its_model_through_every_promotion(late: bool) -> None:
    """From the phase at which it was opened to completion, whoever the ring moves meanwhile; and nobody else is kept."""
    for user in PEOPLE:
        for first, at in enumerate(SHARES):
            opened = ask(snapshot(at), user)
            kept = issued(opened)
            assert kept
            for place, share in enumerate(SHARES[first:], first):
                for status in (Status.PROGRESSING, Status.COMPLETED) if share == 1.0 else EXPOSING:
                    after = snapshot(share, status)
                    answer = ask(after, user, now=NOW + HOUR if late else NOW, x_conversation_token=kept)
                    assert found(answer).model == found(opened).model
                    plain = found(ask(after, user))
                    moved = plain.model != found(opened).model
                    assert found(answer).reason is (Reason.PINNED if moved else plain.reason)
                    assert fate(answer) is Fate.VALID
                    assert issued(answer) == "", "a valid token is not replaced"
                    assert place >= first


@law
@given(st.sampled_from(PEOPLE), st.booleans(), st.sampled_from(SHARES))
def test_what_is_not_valid_decides_nothing(user: str, canary: bool, share: float) -> None:
    """Forged, expired, of somebody else, revoked: the ring decides as if there were no token; it is counted, and a new one handed out."""
    at = snapshot(share, epoch=2)
    plain = ask(at, user)
    wrong = {
        Fate.FORGED: token(canary, user, 2, key=b"x" * 32),
        Fate.EXPIRED: token(canary, user, 2, expiry=int(NOW)),
        Fate.FOREIGN: token(canary, "somebody", 2),
        Fate.REVOKED: token(canary, user, 1),
    }
    for expected, given_token in wrong.items():
        answer = ask(at, user, x_conversation_token=given_token)
        assert found(answer) == found(plain)
        assert fate(answer) is expected
        assert issued(answer) == issued(plain) != ""


def test_a_revocation_ends_all_tokens_at_once() -> None:
    """Whoever was kept by a token meets what the ring says; what is handed out from then on counts."""
    before, after = snapshot(0.5, epoch=0), snapshot(0.5, epoch=1)
    for user in PEOPLE:
        ring = found(ask(before, user))
        kept = token(ring.arm is not Arm.CANARY, user)
        assert found(ask(before, user, x_conversation_token=kept)).reason is Reason.PINNED
        answer = ask(after, user, x_conversation_token=kept)
        assert (found(answer).arm, fate(answer)) == (ring.arm, Fate.REVOKED)
        assert fate(ask(after, user, x_conversation_token=issued(answer))) is Fate.VALID


@pytest.mark.parametrize(("epoch", "model", "said"), [(0, "new", Fate.VALID), (1, "old", Fate.REVOKED)], ids=["drain", "move"])
def test_a_rollback_drains_or_moves_by_the_epoch(epoch: int, model: str, said: Fate) -> None:
    """Where State has not raised the epoch, an open conversation may end on the canary; where it has, it moves at once. Nobody new
    begins there, and no token is handed out."""
    back = snapshot(0.5, Status.ROLLED_BACK, epoch=epoch)
    for user in PEOPLE:
        answer = ask(back, user, x_conversation_token=token(True, user))
        assert (found(answer).model, fate(answer)) == (model, said)
        for other in ({}, {"x_conversation_token": token(False, user)}, {"x_conversation_token": "forged"}):
            answer = ask(back, user, **other)
            assert (found(answer).model, issued(answer)) == ("old", "")


def test_where_nobody_watches_no_token_counts() -> None:
    """Withdrawn: everybody meets stable, open conversations too; nothing is handed out, and when it ends they are where they were."""
    away, back = snapshot(0.5, withdrawn=True), snapshot(0.5)
    for user in PEOPLE:
        kept = token(True, user)
        answer = ask(away, user, x_conversation_token=kept)
        assert (found(answer).model, found(answer).reason, fate(answer), issued(answer)) == ("old", Reason.WITHDRAWN, Fate.NONE, "")
        assert found(ask(back, user, x_conversation_token=kept)).model == "new"


@pytest.mark.parametrize("status", [Status.PENDING, Status.SHADOW])
def test_before_it_starts_no_token_counts(status: Status) -> None:
    """A rollout that has exposed nobody has no conversations."""
    for user in PEOPLE:
        answer = ask(snapshot(0.5, status), user, x_conversation_token=token(True, user))
        assert (found(answer).model, found(answer).reason, issued(answer)) == ("old", Reason.NOT_EXPOSED, "")


def test_a_cohort_that_is_rolled_back_moves_its_conversations() -> None:
    """Its canary has failed for them: at once, whatever token; conversations of other cohorts stay."""
    out = snapshot(0.5, cohorts_out=("gold",))
    for user in PEOPLE:
        gold = ask(out, user, x_user_tier="gold", x_conversation_token=token(True, user))
        assert (found(gold).model, found(gold).reason, issued(gold)) == ("old", Reason.COHORT_OUT, "")
        assert found(ask(out, user, x_conversation_token=token(True, user))).model == "new"


def test_a_token_is_bound_to_the_conversation_that_has_a_name() -> None:
    """One user, two conversations: each has its own token, and the other's does not count."""
    named = {"conversation": conversation(id=Source(SourceKind.HEADER, "x-talk"))}
    early, late = snapshot(0.01, **named), snapshot(1.0, **named)
    first = issued(ask(early, "u7", x_talk="one"))
    assert found(ask(late, "u7", x_talk="one", x_conversation_token=first)).model == "old"
    other = ask(late, "u7", x_talk="two", x_conversation_token=first)
    assert (found(other).model, fate(other)) == ("new", Fate.FOREIGN)
    assert found(ask(late, "another device", x_talk="one", x_conversation_token=first)).model == "old", "whoever goes on with it"
    without = issued(ask(early, "u7"))
    assert found(ask(late, "u7", x_conversation_token=without)).model == "old", "without a name the user's"


def test_the_anonymous_keep_their_conversation_too() -> None:
    """Their first request has no id that lasts: its token belongs to whoever brings it."""
    early, late = snapshot(0.01), snapshot(1.0)
    first = ask(early, request_id=b"r-1")
    assert first is not None
    assert not first.durable
    kept = issued(first)
    assert found(ask(late, request_id=b"r-2", x_conversation_token=kept)).model == "old"
    assert found(ask(late, cookie="llm_uid=r-1", x_conversation_token=kept)).model == "old"


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({}, False),
        ({"path": "/v1/threads/t1/messages"}, True),
        ({"path": "/v1/thread"}, False),
        ({"extproc.request.state": "1"}, True),
        ({"extproc.request.state": "0"}, False),
    ],
)
def test_provider_side_state_stays_on_its_model(headers: dict[str, str], kept: bool) -> None:
    """Where the body or the path speaks of state that the provider keeps, a token counts beyond its lifetime; but not a foreign one."""
    late, over = snapshot(1.0), NOW + 30 * 86400
    answer = ask(late, "u7", now=over, x_conversation_token=token(False, "u7"), **headers)
    assert (found(answer).model, fate(answer)) == (("old", Fate.VALID) if kept else ("new", Fate.EXPIRED))
    other = ask(late, "u8", now=over, x_conversation_token=token(False, "u7"), **headers)
    assert (found(other).model, fate(other)) == ("new", Fate.FOREIGN)


def test_a_token_may_come_in_a_cookie() -> None:
    """Then it is told in which one it is to be handed out."""
    talk = Cookie("talk", 100, "Path=/")
    inside = {"conversation": conversation(header=None, cookie=talk)}
    answer = ask(snapshot(0.01, **inside), "u7")
    assert answer is not None
    assert answer.note is not None
    assert answer.note.cookie is talk
    kept = answer.note.token.decode()
    assert found(ask(snapshot(1.0, **inside), "u7", cookie=f"a=b; talk={kept}; c=d")).model == "old"


def test_tokens_tell_minutes_and_not_moments() -> None:
    """Its expiry is a whole minute, never sooner than the lifetime."""
    for second in range(0, 120, 7):
        answer = ask(snapshot(0.5), "u7", now=NOW + second)
        expiry = int(issued(answer).split(".")[3], 16)
        assert expiry % 60 == 0
        assert 4 * HOUR <= expiry - (NOW + second) < 4 * HOUR + 61


# ---------------------------------------------------------------------------------------------------------------------- overrides
BY_HAND = {**TOKEN, "overrides": overrides(stable=ids("s1", "both"), canary=ids("c1", "both", "banned"))}
anybody = st.sampled_from([*PEOPLE, "s1", "c1", "both", "banned"])
statuses = st.sampled_from([*EXPOSING, Status.COMPLETED, Status.PENDING, Status.ROLLED_BACK])


@law
@given(anybody, st.sampled_from(SHARES), statuses, st.booleans(), st.booleans(), st.booleans())
def test_a_signed_header_beats_everything(user: str, share: float, status: Status, canary: bool, withdrawn: bool, gold: bool) -> None:
    """Lists, exclusion, cohort, ring, token, and where nobody watches; it hands out no token."""
    at = snapshot(share, status, withdrawn, **BY_HAND)
    tier = {"x_user_tier": "gold"} if gold else {}
    answer = ask(at, user, x_canary_qa=QA if canary else QA_STABLE, x_conversation_token=token(not canary, user), **tier)
    assert (found(answer).reason, found(answer).model, issued(answer)) == (Reason.OVERRIDE, "new" if canary else "old", "")


@law
@given(st.sampled_from(SHARES), statuses, st.booleans(), st.booleans(), st.booleans())
def test_lists_beat_cohorts_rings_and_tokens(share: float, status: Status, withdrawn: bool, gold: bool, canary: bool) -> None:
    """A unit on the stable list never meets the canary; one on the canary's meets it while anybody is exposed and somebody watches."""
    at = snapshot(share, status, withdrawn, **BY_HAND)
    exposed = status is Status.COMPLETED or (status.exposes and not withdrawn)
    for user in ("s1", "both", "c1", "banned"):
        headers = {"x_conversation_token": token(canary, user)} | ({"x_user_tier": "gold"} if gold else {})
        answer = found(ask(at, user, **headers))
        if user in ("s1", "both"):
            assert (answer.reason, answer.model) == (Reason.FORCED, "old"), "on both lists: the safe one"
        elif exposed:
            assert (answer.reason, answer.model) == (Reason.FORCED, "new")
        elif status.exposes or status is Status.PENDING:
            assert answer.model == "old"
        else:
            drained = canary and not (gold and user == "banned")
            assert (answer.model == "new") is drained, "rolled back: only an open conversation, of whom nobody excludes"


@law
@given(st.sampled_from(PEOPLE), st.sampled_from(SHARES), statuses, st.booleans())
def test_a_header_that_is_not_valid_changes_nothing_and_is_counted(user: str, share: float, status: Status, listed: bool) -> None:
    """Whoever sends it meets what everybody meets; also where a list names the unit."""
    user = "c1" if listed else user
    at = snapshot(share, status, **BY_HAND)
    for expected, header in ((Fate.FORGED, QA + "0"), (Fate.FORGED, "x"), (Fate.EXPIRED, sign_qa(SECRETS.qa["new"], "new", Arm.CANARY, 1))):
        plain, answer = ask(at, user), ask(at, user, x_canary_qa=header)
        assert answer is not None
        assert answer.note is not None
        assert found(answer) == found(plain)
        assert answer.note.qa is expected


@law
@given(
    st.sampled_from([*PEOPLE, "s1", "c1", "banned"]), st.sampled_from(SHARES), statuses, st.booleans(),
    st.sampled_from(["", QA, QA_STABLE]), st.sampled_from([None, False, True]), st.sampled_from(["", "gold"]), st.booleans(),
)  # fmt: skip
def test_only_the_ring_makes_evidence(
    user: str, share: float, status: Status, withdrawn: bool, qa: str, kept: bool | None, tier: str, out: bool
) -> None:
    """Whoever is named by hand, kept by a token, excluded, out or not exposed is outside of Evidence: what counts is what the ring said."""
    at = snapshot(share, status, withdrawn, **BY_HAND, cohorts_out=("gold",) if out else ())
    bare = snapshot(share, status, withdrawn, cohorts_out=("gold",) if out else ())
    headers = {name: value for name, value in (("x_canary_qa", qa), ("x_user_tier", tier)) if value}
    if kept is not None:
        headers["x_conversation_token"] = token(kept, user)
    answer = found(ask(at, user, **headers))
    if answer.reason in COUNTED and answer.cohort:
        assert answer == found(ask(bare, user, x_user_tier=tier))
        assert status.exposes or status is Status.COMPLETED
    else:
        assert answer.arm is not Arm.CONTROL
    if answer.reason in (Reason.OVERRIDE, Reason.FORCED, Reason.PINNED):
        assert answer.cohort == ""


def test_every_reason_is_met() -> None:
    """The reasons of an answer, each at least once; that of a shadow has tests of its own."""
    cohorts = (
        cohort("gold", tiers("gold"), ids("out")),
        cohort("late", tiers("late"), shares=(0.0,) * 4 + (1.0,)),
        cohort("paid", tiers("paid")),
    )
    plain = {"cohorts": cohorts, "overrides": overrides(stable=ids("s1")), "conversation": conversation()}
    running = snapshot(0.5, **plain, cohorts_out=("paid",))
    seen = {
        found(ask(running, "u1", x_user_tier="gold")).reason,
        found(ask(running, "out", x_user_tier="gold")).reason,
        found(ask(running, "u1", x_user_tier="late")).reason,
        found(ask(running, "u1", x_user_tier="paid")).reason,
        found(ask(running, "u1")).reason,
        found(ask(running)).reason,
        found(ask(running, "s1")).reason,
        found(ask(running, "u1", x_canary_qa=QA)).reason,
        found(ask(snapshot(1.0, **plain), "u1", x_user_tier="gold", x_conversation_token=token(False, "u1"))).reason,
        found(ask(snapshot(0.5, withdrawn=True), "u1")).reason,
        found(ask(snapshot(0.5, Status.ROLLED_BACK), "u1")).reason,
        found(ask(snapshot(1.0, Status.COMPLETED), "u1")).reason,
    }
    assert seen == set(Reason) - {Reason.NO_MATCH, Reason.SHADOW}
