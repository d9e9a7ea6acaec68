"""adopt: what runs is immutable, what rests may change."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from extproc.domain import (
    Attribute,
    AttributeType,
    Credential,
    Fact,
    FactKind,
    FlagIs,
    FlagSource,
    FlagVendor,
    Not,
    Poll,
    Prices,
    Rollout,
    RolloutState,
    Spec,
    State,
    Status,
)
from extproc.errors import RefusedError
from extproc.release import adopt
from tests.support.specs import cohort, model, rollout, spec

NOW = 500.0
EXPOSING = (Status.PROGRESSING, Status.PAUSED, Status.AWAITING_APPROVAL)


def prints(given: Spec, **changed: str) -> dict[str, str]:
    return {name: changed.get(name, f"print-{name}") for name in given.rollouts}


def stood(status: Status, phase: int = 2, attempt: int = 3) -> RolloutState:
    return RolloutState(status, phase, 100.0, 7, attempt, "as it was", "print-new")


def state(**rollouts: RolloutState) -> State:
    return State(9, "old", rollouts)


def before(*rollouts: Rollout) -> Spec:
    return spec(*(rollouts or (rollout(),)), digest="old")


def after(*rollouts: Rollout) -> Spec:
    return spec(*(rollouts or (rollout(),)), digest="new")


def pending(fingerprint: str, epoch: int = 0) -> RolloutState:
    return RolloutState(Status.PENDING, 0, NOW, 0, 1, "has not been started", fingerprint, epoch)


def test_the_first_spec_makes_the_first_state() -> None:
    """Generation 1, everybody pending."""
    given = after(rollout("a"), rollout("b"))
    assert adopt(None, None, given, prints(given), NOW) == State(1, "new", {"a": pending("print-a"), "b": pending("print-b")})


def test_the_same_spec_changes_nothing() -> None:
    """A restart is no decision: not even the generation moves."""
    given = before()
    stands = state(new=stood(Status.PROGRESSING))
    assert adopt(stands, given, given, prints(given, new="whatever"), NOW) is stands


@pytest.mark.parametrize("status", list(Status))
def test_an_unchanged_rollout_stays_where_it_is(status: Status) -> None:
    """Another part of the Spec was edited: the digest is new, the rollout is not touched."""
    stands = state(new=stood(status))
    assert adopt(stands, before(), after(), prints(after()), NOW) == State(10, "new", {"new": stood(status)})


@pytest.mark.parametrize("status", EXPOSING)
def test_a_new_rollout_is_pending_beside_a_running_one(status: Status) -> None:
    """Adding one disturbs nobody."""
    given = after(rollout(), rollout("second"))
    adopted = adopt(state(new=stood(status)), before(), given, prints(given), NOW)
    assert adopted.rollouts == {"new": stood(status), "second": pending("print-second", epoch=10)}


def test_everything_that_runs_and_was_changed_or_removed_is_said_at_once() -> None:
    """Two changed, one removed, one unchanged, one that rests: three Problems, each with the way out."""
    names = ("one", "two", "gone", "same", "rests")
    stands = State(
        9,
        "old",
        {
            name: replace(stood(status), fingerprint=f"print-{name}")
            for name, status in zip(names, (*EXPOSING, Status.PROGRESSING, Status.ROLLED_BACK), strict=True)
        },
    )
    given = after(*(rollout(name) for name in ("one", "two", "same", "rests")))
    with pytest.raises(RefusedError) as caught:
        adopt(stands, before(*(rollout(name) for name in names)), given, prints(given, one="x", two="y", rests="z"), NOW)
    assert [(problem.id, problem.path) for problem in caught.value.problems] == [
        ("state.running-rollout-changed", "rollouts.one"),
        ("state.running-rollout-changed", "rollouts.two"),
        ("state.running-rollout-removed", "rollouts.gone"),
    ]
    first, second, gone = caught.value.problems
    assert first.message == "is progressing: its salt, unit, cohorts, models, phases and gates must stay as they are"
    assert second.message.startswith("is paused: ")
    assert gone.message == "is awaiting_approval and no longer in the Spec"
    for problem, name in zip(caught.value.problems, ("one", "two", "gone"), strict=True):
        assert problem.hint == f"undo the edit, or `extproc rollback {name}` first and start it again"


@pytest.mark.parametrize("status", [Status.PENDING, Status.COMPLETED, Status.ROLLED_BACK])
def test_what_rests_can_be_removed(status: Status) -> None:
    """It is in the Journal, and nowhere else."""
    given = after(rollout("other"))
    assert adopt(state(new=stood(status)), before(), given, prints(given), NOW).rollouts == {"other": pending("print-other", epoch=10)}


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.ROLLED_BACK])
def test_an_end_stays_while_the_models_stay(status: Status) -> None:
    """An edited dwell sends nobody back to stable, and does not start by itself what was rolled back."""
    edited = after(rollout(phases=tuple(replace(phase, min_dwell=5.0) for phase in rollout().phases)))
    adopted = adopt(state(new=stood(status)), before(), edited, prints(edited, new="edited"), NOW)
    assert adopted == State(10, "new", {"new": replace(stood(status), fingerprint="edited")})


def test_an_end_stays_within_the_phases_that_are_left() -> None:
    """The new Spec has fewer phases: the phase of a completed rollout is the last of them."""
    edited = after(rollout(phases=rollout().phases[-2:]))
    adopted = adopt(state(new=stood(Status.COMPLETED, phase=4)), before(), edited, prints(edited, new="edited"), NOW)
    assert (adopted.rollouts["new"].status, adopted.rollouts["new"].phase) == (Status.COMPLETED, 1)


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.ROLLED_BACK, Status.PENDING])
@pytest.mark.parametrize("changes", [{"canary": "third"}, {"stable": "third"}])
def test_other_models_are_another_release(status: Status, changes: dict[str, str]) -> None:
    """Pending, first attempt, whatever became of the one before."""
    edited = after(rollout(**changes))
    adopted = adopt(state(new=stood(status)), before(), edited, prints(edited, new="edited"), NOW)
    assert adopted.rollouts == {"new": pending("edited")}


def test_a_pending_rollout_takes_the_new_spec() -> None:
    """Nobody has met it yet."""
    edited = after(rollout(salt="other"))
    assert adopt(state(new=stood(Status.PENDING)), before(), edited, prints(edited, new="edited"), NOW).rollouts == {
        "new": pending("edited")
    }


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.ROLLED_BACK, Status.PENDING])
@pytest.mark.parametrize("changes", [{"canary": "third"}, {"salt": "other"}, {}])
def test_no_edit_makes_a_revoked_token_good_again(status: Status, changes: dict[str, str]) -> None:
    """The epoch never falls: not with other models, not where an end stays, not for a rollout that was removed and comes back."""
    stands, edited = state(new=replace(stood(status), epoch=4)), after(rollout(**changes))
    assert adopt(stands, before(), edited, prints(edited, new="edited"), NOW).rollouts["new"].epoch == 4
    without = adopt(stands, before(), after(rollout("other")), {"other": "x"}, NOW)
    back = adopt(without, after(rollout("other")), replace(edited, digest="newer"), prints(edited), NOW)
    assert back.rollouts["new"].epoch == back.generation > 4


def test_a_cohort_that_was_rolled_back_stays_so_while_an_end_stays() -> None:
    """An edited dwell brings nobody to the canary; another release begins with all of its cohorts."""
    stands = state(new=replace(stood(Status.COMPLETED), cohorts_out=("germany",)))
    edited = after(rollout(phases=tuple(replace(phase, min_dwell=5.0) for phase in rollout().phases)))
    assert adopt(stands, before(), edited, prints(edited, new="edited"), NOW).rollouts["new"].cohorts_out == ("germany",)
    other = after(rollout(canary="third"))
    assert adopt(stands, before(), other, prints(other, new="edited"), NOW).rollouts["new"].cohorts_out == ()


def test_a_spec_that_was_lost_is_no_proof_of_the_same_models() -> None:
    """Without the old Spec an end that was edited begins anew."""
    edited = after()
    assert adopt(state(new=stood(Status.COMPLETED)), None, edited, prints(edited, new="edited"), NOW).rollouts == {"new": pending("edited")}


def _edited(**changes: object) -> Spec:
    """The new Spec, whose rollout is the same to the letter."""
    return replace(after(), **changes)  # type: ignore[arg-type]


def _model_edited(name: str, *clusters: str, **changes: object) -> Spec:
    given = after()
    return replace(given, models={**given.models, name: model(name, *clusters, **changes)})


@pytest.mark.parametrize("status", EXPOSING)
@pytest.mark.parametrize(
    ("edited", "path"),
    [
        (_model_edited("old", "elsewhere"), "models.old"),
        (_model_edited("new", "new", "another", weights=(1.0, 2.0)), "models.new"),
        (_model_edited("new", send_model="another"), "models.new"),
        (
            _edited(application=replace(after().application, sla=replace(after().application.sla, latency_p99=30.0))),
            "application.sla.latency_p99",
        ),
    ],
)
def test_what_a_running_rollout_rests_on_is_immutable_too(edited: Spec, path: str, status: Status) -> None:
    """Its models, their pools, its deadline: an edit there would move people or Evidence under its feet.

    The headers that make its cohorts are in its own part, by name: its fingerprint tells.
    """
    with pytest.raises(RefusedError) as caught:
        adopt(state(new=stood(status)), before(), edited, prints(edited), NOW)
    assert [(problem.id, problem.path) for problem in caught.value.problems] == [("state.running-rollout-moved", path)]
    assert caught.value.problems[0].hint == "undo the edit, or `extproc rollback new` first and start it again"
    rests = state(new=stood(Status.ROLLED_BACK))
    assert adopt(rests, before(), edited, prints(edited), NOW).rollouts == rests.rollouts


def test_what_no_running_rollout_rests_on_may_change() -> None:
    """A price, a credential, a third model, a header that no cohort reads: the rollout runs on under the new Spec."""
    runs = state(new=stood(Status.PROGRESSING))
    priced = Prices(Decimal(1), Decimal(1), Decimal(1))
    for edited in (
        _model_edited("old", prices=priced),
        _model_edited("new", credential=Credential("authorization", "Bearer ", None, "NEW_KEY")),
        _model_edited("third", "elsewhere"),
    ):
        assert adopt(runs, before(), edited, prints(edited), NOW) == State(10, "new", runs.rollouts)
    identity = replace(before().identity, tier_header="x-tier", country_header="x-country")
    everyone = rollout(cohorts=(cohort("everyone"),))
    edited = spec(everyone, digest="new", identity=identity)
    assert adopt(runs, before(everyone), edited, prints(edited), NOW) == State(10, "new", runs.rollouts)


SLOTS = {"a": (0.0, 0.5), "b": (0.5, 1.0)}
DOCUMENT = {"features": [{"name": "beta"}]}
FLAGS = FlagSource("ours", FlagVendor.UNLEASH, DOCUMENT, None, {"userId": Attribute(None, AttributeType.STRING)})


@pytest.mark.parametrize(
    ("changes", "edited", "path"),
    [
        ({"slot": "a"}, {"layers": {"model": {"a": (0.0, 0.4), "b": (0.4, 1.0)}}}, "layers.model.slots"),
        ({"cohorts": (cohort("beta", FlagIs("ours", "beta", ())),)}, {"flags": {"ours": replace(FLAGS, document={})}}, "flags.ours"),
        (
            {"cohorts": (cohort("everyone", None, Not(FlagIs("ours", "beta", ()))),)},
            {"flags": {"ours": replace(FLAGS, attributes={"userId": Attribute(Fact(FactKind.HEADER, "x-id"), AttributeType.STRING)})}},
            "flags.ours",
        ),
    ],
    ids=["slots", "flags of a cohort", "attributes of an excluding flag"],
)
def test_slots_and_flags_of_a_running_rollout_stay(changes: dict[str, object], edited: dict[str, object], path: str) -> None:
    """Another slot, file of flags or attribute would move people; where no running rollout looks at them, they may change."""
    around: dict[str, object] = {"layers": {"model": SLOTS}, "flags": {"ours": FLAGS}}
    runs = state(new=stood(Status.PROGRESSING))
    old, new = (spec(rollout(**changes), digest=digest, **{**around, **more}) for digest, more in (("old", {}), ("new", edited)))
    with pytest.raises(RefusedError) as caught:
        adopt(runs, old, new, prints(new), NOW)
    assert [(problem.id, problem.path) for problem in caught.value.problems] == [("state.running-rollout-moved", path)]
    old, new = (spec(digest=digest, **{**around, **more}) for digest, more in (("old", {}), ("new", edited)))
    assert adopt(runs, old, new, prints(new), NOW).rollouts == runs.rollouts


def test_polled_flags_are_kept_while_their_source_is_polled() -> None:
    """The last good document of a service is not forgotten because another part of the Spec was edited."""
    polled = replace(FLAGS, document=None, poll=Poll("https://flags.example/api", None, 15.0))
    stands = replace(state(new=stood(Status.PROGRESSING)), flags={"ours": "0123", "gone": "4567"})
    new = spec(digest="new", flags={"ours": polled})
    assert adopt(stands, before(), new, prints(new), NOW).flags == {"ours": "0123"}
    assert adopt(stands, before(), spec(digest="new", flags={"ours": FLAGS}), prints(new), NOW).flags == {}
