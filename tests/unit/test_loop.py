"""The evaluate loop on a real store, with outcomes made by hand and a clock that is an argument."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from extproc import spec as spec_room
from extproc.cli.write import filled_template
from extproc.controller import saved
from extproc.controller.loop import Loop
from extproc.domain import Action, Arm, Heartbeat, Outcome, Reason, Status
from extproc.errors import Problem, RefusedError, SpecError, StoreError
from extproc.store import Store, open_store

TEXT = filled_template("chat", "old", "new").replace("min_dwell: 30m", "min_dwell: 10s")
TEXT = TEXT.replace("share: 5%,", "share: 20%,").replace("share: 1%,", "share: 10%,")
NAME = "new"
BEGIN = 1_000_000.0


class World:
    """A loop, its store and a clock: requests arrive evenly, the phase's share of units meets the canary, and they end 0.2 s after
    their start."""

    def __init__(self, path: Path, text: str = TEXT) -> None:
        self.url = f"sqlite:{path / 'x.db'}"
        self.store: Store = open_store(self.url, writer=True)
        self.now = BEGIN
        self.loop = Loop(text, self.store, self.now)
        self._ids = count()

    def restart(self, text: str = TEXT) -> None:
        self.loop.save()
        self.store.close()
        self.reopen(text)

    def reopen(self, text: str = TEXT) -> None:
        """What was in memory is gone."""
        self.store = open_store(self.url, writer=True)
        self.loop = Loop(text, self.store, self.now)

    @property
    def status(self) -> Status:
        return self.loop.state.rollouts[NAME].status

    @property
    def phase(self) -> int:
        return self.loop.state.rollouts[NAME].phase

    def second(self, requests: int = 200, canary_errors: float = 0.0, stable_errors: float = 0.0) -> None:
        """One second of traffic, then a tick."""
        state = self.loop.state.rollouts[NAME]
        outcomes = []
        for index in range(requests):
            number = next(self._ids)
            point = number * 37 % 100 / 100
            share = self.loop.desks[NAME].rollout.phases[state.phase].share
            canary = point < share and state.status.exposes
            failed = (number // 10 % 100) / 100 < (canary_errors if canary else stable_errors)
            arm = Arm.CANARY if canary else Arm.CONTROL if point >= 1 - share - 1e-9 else Arm.REST
            outcomes.append(outcome(number, self.now + index / requests, canary, failed, arm=arm, generation=state.generation))
        self.now += 1.0
        self.loop.receive(outcomes, self.now)
        self.loop.tick(self.now, 1.0)


def outcome(number: int, start: float, canary: bool, failed: bool, **changes: Any) -> Outcome:
    plain: dict[str, Any] = {
        "stream_id": f"s{number}",
        "layer": "model",
        "rollout": NAME,
        "generation": 2,
        "phase": "10%",
        "cohort": "everyone",
        "arm": Arm.CANARY if canary else Arm.REST,
        "unit": f"{number % 5000:016x}",
        "durable": True,
        "start": start,
        "duration": 0.2,
        "reason": Reason.RING,
        "final": True,
        "status": 500 if failed else 200,
        "failed": failed,
        "client_aborted": False,
        "throttled": False,
        "attempts": 1,
        "ttft": 0.1,
        "answered_by": "new" if canary else "old",
        "model": "new" if canary else "old",
        "input_tokens": 10,
        "cached_tokens": None,
        "output_tokens": 20,
        "reasoning_tokens": None,
    }
    return Outcome(**{**plain, **changes})


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.store.close()


def test_a_healthy_canary_moves_on_when_evidence_and_dwell_say_so(world: World) -> None:
    """START at the first tick; ADVANCE only after watched dwell, units and safety; the Journal has the numbers."""
    world.second()
    assert (world.status, world.phase) == (Status.PROGRESSING, 0)
    for _ in range(9):
        world.second()
        assert world.phase == 0, "not before the dwell was watched"
    for _ in range(60):
        world.second()
        if world.phase:
            break
    assert world.phase == 1
    entry = world.store.journal(NAME)[0]
    assert entry.action is Action.ADVANCE
    assert entry.actor == "extproc"
    assert entry.numbers["from"] == {"status": "progressing", "phase": "10%"}
    assert {finding["verdict"] for finding in entry.numbers["findings"]} == {"pass"}
    assert "safety E" in entry.why


def test_a_failing_canary_is_rolled_back_within_two_ticks_of_its_first_mature_failures(world: World) -> None:
    """Everything fails at once: 20 canary requests a second are judged at the age of 1 s plus grace."""
    for _ in range(6):
        world.second()
    for _ in range(3):
        world.second(canary_errors=1.0)
    assert world.status is Status.ROLLED_BACK
    assert "harm E" in world.store.journal(NAME)[0].why
    for _ in range(5):
        world.second()
    assert world.status is Status.ROLLED_BACK, "only a person tries again"


def test_both_arms_failing_is_an_incident_and_not_a_rollback(world: World) -> None:
    """HOLD and page; the comparison sees no difference, the ceiling sees both."""
    for _ in range(5):
        world.second()
    for _ in range(12):
        world.second(canary_errors=0.6, stable_errors=0.6)
    assert world.status is Status.PROGRESSING
    assert world.loop.desks[NAME].decision.page
    assert "incident in both arms" in world.loop.desks[NAME].decision.why


def test_after_an_incident_a_person_resumes_and_the_phase_is_looked_at_anew(world: World) -> None:
    """What the page says to do is possible: until then it is held, however long all is well; afterwards it goes on by itself."""
    for _ in range(5):
        world.second()
    for _ in range(4):
        world.second(canary_errors=1.0, stable_errors=1.0)
    for _ in range(90):
        world.second()
    assert (world.phase, world.loop.desks[NAME].decision.page) == (0, True)
    generation = world.loop.state.rollouts[NAME].generation
    state = world.loop.act(NAME, Action.RESUME, "ann", "incident 4711 is over", world.now)
    assert (state.status, state.phase, state.generation) == (Status.PROGRESSING, 0, generation + 1)
    world.second()
    assert not world.loop.desks[NAME].decision.page
    for _ in range(60):
        world.second()
        if world.phase:
            break
    assert world.phase == 1


def test_without_outcomes_the_dwell_does_not_count(world: World) -> None:
    """An outage of the access log must not satisfy a dwell."""
    world.second()
    for _ in range(5):
        world.second()
    watched = world.loop.desks[NAME].evidence.watched
    for _ in range(100):
        world.second(requests=0)
    assert world.loop.desks[NAME].evidence.watched <= watched + 30
    assert world.phase == 0


def test_a_restart_resumes_where_it_was(world: World) -> None:
    """State, Evidence and attempt survive; only requests that began after the restart are looked at."""
    for _ in range(8):
        world.second()
    before = world.loop.desks[NAME].evidence
    units, harm = dict(before.canary_units), before.to_json()["harm"]
    world.restart()
    after = world.loop.desks[NAME].evidence
    assert after is not before
    assert after.canary_units == units
    assert after.to_json()["harm"] == harm
    assert after.watched == pytest.approx(before.watched)
    state = world.loop.state
    world.loop.receive([outcome(999_999, world.now - 1.0, True, True, generation=state.rollouts[NAME].generation)], world.now)
    assert after.foreign == 1


def test_a_person_acts_and_it_is_committed_before_the_answer(world: World) -> None:
    """pause, resume, promote, rollback, start: State in the store is what was answered; a retry is a new attempt with new Evidence."""
    world.second()
    for action, status in (
        (Action.PAUSE, Status.PAUSED),
        (Action.RESUME, Status.PROGRESSING),
        (Action.ADVANCE, Status.PROGRESSING),
        (Action.ROLL_BACK, Status.ROLLED_BACK),
        (Action.START, Status.PROGRESSING),
    ):
        state = world.loop.act(NAME, action, "ann", "because", world.now)
        assert state.status is status
        stored = world.store.read_state()
        assert stored is not None
        assert stored.rollouts[NAME] == state
        entry = world.store.journal(NAME)[0]
        assert (entry.actor, entry.why, entry.generation) == ("ann", "because", stored.generation)
    assert world.loop.state.rollouts[NAME].attempt == 2
    assert world.loop.desks[NAME].evidence.attempt == 2
    assert world.loop.desks[NAME].evidence.log_e_harm("errors") == pytest.approx(0.0)


def test_a_paused_rollout_stays_and_still_rolls_back(world: World) -> None:
    """Automation never raises exposure against a person, and may always lower it."""
    world.second()
    world.loop.act(NAME, Action.PAUSE, "ann", "lunch", world.now)
    for _ in range(60):
        world.second()
    assert (world.status, world.phase) == (Status.PAUSED, 0)
    for _ in range(5):
        world.second(canary_errors=1.0)
    assert world.status is Status.ROLLED_BACK


@pytest.mark.parametrize("action", [Action.START, Action.RESUME])
def test_what_makes_no_sense_is_refused_and_changes_nothing(world: World, action: Action) -> None:
    """The refusal says what is possible now."""
    world.second()
    before = world.loop.state
    with pytest.raises(RefusedError, match="possible now: pause, promote, return, rollback --cohort, override, rollback, revoke"):
        world.loop.act(NAME, action, "ann", "because", world.now)
    with pytest.raises(RefusedError, match="no reason"):
        world.loop.act(NAME, Action.PAUSE, "ann", "  ", world.now)
    with pytest.raises(RefusedError, match="no such rollout"):
        world.loop.act("nobody", Action.PAUSE, "ann", "because", world.now)
    assert world.loop.state == before


def test_where_the_store_refuses_nothing_moves_and_the_next_tick_tries_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk holds the release; it does not split State from Journal."""
    with monkeypatch.context() as patched:
        from extproc.errors import Problem

        def refuse(*_: object) -> None:
            raise StoreError(Problem("store.sqlite", "x", "database or disk is full", "make room"))

        patched.setattr(world.store, "commit", refuse)
        world.second()
        assert world.status is Status.PENDING
        with pytest.raises(StoreError):
            world.loop.act(NAME, Action.START, "ann", "because", world.now)
        assert world.status is Status.PENDING
    world.second()
    assert world.status is Status.PROGRESSING


def test_another_canary_does_not_inherit_the_evidence_of_the_last_one(world: World) -> None:
    """Rolled back for total failure; then the Spec names another model: it begins with clean Evidence, and is not rolled back for it."""
    for _ in range(6):
        world.second()
    for _ in range(3):
        world.second(canary_errors=1.0)
    assert world.status is Status.ROLLED_BACK
    world.restart(TEXT.replace("canary: new", "canary: third").replace("  new:\n    endpoint", "  third:\n    endpoint", 1))
    assert world.status is Status.PENDING
    assert world.loop.desks[NAME].evidence.log_e_harm("errors") == pytest.approx(0.0)
    for _ in range(5):
        world.second()
    assert world.status is Status.PROGRESSING


def test_a_changed_spec_is_adopted_or_refused_at_start(world: World) -> None:
    """What runs is immutable; a bad Spec changes nothing; a new dwell of a rolled-back rollout is taken."""
    world.second()
    edited = TEXT.replace("min_dwell: 10s", "min_dwell: 20s")
    with pytest.raises(RefusedError, match=r"state\.running-rollout-changed"):
        world.restart(edited)
    world.loop = Loop(TEXT, world.store, world.now)
    world.loop.act(NAME, Action.ROLL_BACK, "ann", "because", world.now)
    world.restart(edited)
    assert world.status is Status.ROLLED_BACK
    assert world.loop.state.spec_digest == spec_room.load(edited).digest
    with pytest.raises(SpecError):
        Loop("version: 2", world.store, world.now)
    assert world.store.read_state() == world.loop.state


OTHER = TEXT.replace("    credential: {env: OPENAI_API_KEY}", "    credential: {env: ANOTHER_KEY}")
"""What runs does not rest on it."""


def adopt(world: World, text: str) -> bool:
    return world.loop.adopt(text, spec_room.load(text), world.now)


def test_a_spec_is_adopted_while_a_rollout_runs_and_its_evidence_goes_on(world: World) -> None:
    """The very same Evidence, requests under way included; State names the new digest, the store has its text, the Journal an entry."""
    for _ in range(8):
        world.second()
    evidence, before = world.loop.desks[NAME].evidence, world.loop.state
    assert adopt(world, OTHER)
    digest = spec_room.load(OTHER).digest
    assert world.loop.spec.digest == world.loop.state.spec_digest == digest != before.spec_digest
    assert world.loop.state.generation == before.generation + 1
    assert world.loop.state.rollouts == before.rollouts
    assert world.loop.desks[NAME].evidence is evidence
    assert world.store.read_state() == world.loop.state
    assert world.store.read_spec(digest) == OTHER
    assert (world.store.journal(NAME)[0].action, world.store.journal(NAME)[0].numbers["digest"]) == (Action.ADOPT, digest)
    watched = evidence.watched
    world.second()
    assert evidence.watched == pytest.approx(watched + 1.0)


def test_the_same_spec_in_other_words_changes_nothing(world: World) -> None:
    """A comment is no decision: not even the generation moves."""
    world.second()
    before = world.loop.state
    assert not adopt(world, TEXT + "# a comment\n")
    assert world.loop.state is before
    assert world.store.read_state() == before


@pytest.mark.parametrize(
    "edited",
    [
        TEXT.replace("min_dwell: 10s", "min_dwell: 1s"),
        TEXT.replace("country: [DE]", "country: [DE, FR]"),
        TEXT.replace("  - {share: 10%,", "  - {share: 11%,"),
        TEXT.replace("send_model: new", "send_model: other"),
        TEXT.replace("tier_header: x-user-tier", "tier_header: x-user-id"),
        TEXT.replace("latency_p99: 8s", "latency_p99: 80s"),
        TEXT.replace("rollouts:\n  new:", "rollouts:\n  renamed:"),
    ],
    ids=["gates", "cohorts", "phases", "model", "identity", "deadline", "name"],
)
def test_an_edit_of_what_runs_is_refused_and_changes_nothing(world: World, edited: str) -> None:
    """Neither State nor Spec nor Evidence, in memory and in the store alike; after a rollback the same text is adopted."""
    world.second()
    before, spec, desk = world.loop.state, world.loop.spec, world.loop.desks[NAME]
    assert spec_room.load(edited).digest != spec.digest
    with pytest.raises(RefusedError, match=r"state\.running-rollout-"):
        adopt(world, edited)
    assert (world.loop.state, world.loop.spec, world.loop.desks[NAME]) == (before, spec, desk)
    assert world.store.read_state() == before
    world.loop.act(NAME, Action.ROLL_BACK, "ann", "because", world.now)
    assert adopt(world, edited)
    assert world.loop.spec.digest == spec_room.load(edited).digest


def test_a_store_that_refuses_a_spec_leaves_everything_as_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spec and State are one transaction: where it fails, neither is there."""
    world.second()
    before, desk = world.loop.state, world.loop.desks[NAME]
    with monkeypatch.context() as patched:
        # The last of the writes of a commit fails, after Spec and State were written.
        patched.setattr(saved, "rows", lambda *_: {NAME: object()})
        with pytest.raises(StoreError):
            adopt(world, OTHER)
    assert (world.loop.state, world.loop.desks[NAME]) == (before, desk)
    assert world.store.read_state() == before
    with pytest.raises(StoreError, match=r"store\.no-spec"):
        world.store.read_spec(spec_room.load(OTHER).digest)
    assert adopt(world, OTHER)


def test_rollouts_come_and_go_while_another_one_runs(world: World) -> None:
    """One that is added begins, one that rests and is taken away is gone from desk, State and metrics; the one that runs goes on."""
    from extproc.controller.metrics import ControllerMetrics

    world.second()
    evidence = world.loop.desks[NAME].evidence
    block = TEXT[TEXT.index("  new:\n    match:") :].replace("  new:\n", "  second:\n", 1).replace("models: [old]", "models: [other]")
    assert adopt(world, TEXT.rstrip() + "\n" + block)
    world.second()
    metrics = ControllerMetrics()
    assert world.loop.state.rollouts["second"].status is Status.PROGRESSING
    assert b'extproc_share{rollout="second"} 0.1' in metrics.exposition(world.loop, {})
    with pytest.raises(RefusedError, match=r"state\.running-rollout-removed"):
        adopt(world, TEXT)
    world.loop.act("second", Action.ROLL_BACK, "ann", "because", world.now)
    assert adopt(world, TEXT)
    assert set(world.loop.desks) == set(world.loop.state.rollouts) == {NAME}
    assert world.loop.desks[NAME].evidence is evidence
    assert b'rollout="second"' not in metrics.exposition(world.loop, {})
    world.second()


def test_a_rollout_that_rests_takes_its_new_block_with_the_evidence_that_is_about_its_models(world: World) -> None:
    """As after a restart: the phases are the new ones, the e-processes are those of the attempt."""
    for _ in range(6):
        world.second()
    for _ in range(3):
        world.second(canary_errors=1.0)
    assert world.status is Status.ROLLED_BACK
    harm = world.loop.desks[NAME].evidence.to_json()["harm"]
    assert adopt(world, TEXT.replace("min_dwell: 10s", "min_dwell: 20s"))
    desk = world.loop.desks[NAME]
    assert (world.status, desk.rollout.phases[0].min_dwell) == (Status.ROLLED_BACK, 20.0)
    assert desk.evidence.to_json()["harm"] == harm
    world.restart(TEXT.replace("min_dwell: 10s", "min_dwell: 20s"))
    assert world.loop.desks[NAME].evidence.to_json()["harm"] == harm


# --------------------------------------------------------------------------------------------------------------------- watching
def _exposed_to(world: World, **arguments: float) -> None:
    """A second of traffic whose decisions are told as well."""
    world.loop.count_decisions(NAME, int(arguments.pop("decided", 200)), world.now, world.now + 1.0)
    world.second(**arguments)  # type: ignore[arg-type]


def test_each_tick_that_was_carried_out_is_a_heartbeat(world: World) -> None:
    """Number by number; a restart goes on, so that it is a change too."""
    for number in (1, 2, 3):
        world.second()
        assert world.store.read_heartbeat() == Heartbeat(number, ())
    world.restart()
    assert world.store.read_heartbeat() == Heartbeat(3, ())
    world.second()
    assert world.store.read_heartbeat() == Heartbeat(4, ())


def test_who_cannot_carry_out_a_decision_does_not_watch(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store refuses State: no heartbeat, so that routers act instead; it goes on when the store does."""

    def refuse(*_: object) -> None:
        raise StoreError(Problem("store.full", "x.db", "disk full", ""))

    with monkeypatch.context() as broken:
        broken.setattr(world.store, "commit", refuse)
        world.second()
        assert world.status is Status.PENDING
        assert world.store.read_heartbeat() is None
    world.second()
    assert world.status is Status.PROGRESSING
    assert world.store.read_heartbeat() == Heartbeat(1, ())


def test_blind_means_that_nothing_moves_forward_and_routers_are_told(world: World) -> None:
    """Half of the entries are lost: held and paged, the dwell stands still; heard of again, it goes on."""
    world.loop.act(NAME, Action.START, "ada", "begin", world.now)
    world.loop.act(NAME, Action.PAUSE, "ada", "let me look first", world.now)
    for _ in range(30):
        _exposed_to(world)
    world.loop.act(NAME, Action.RESUME, "ada", "go on", world.now)
    while not world.loop.blind:
        _exposed_to(world, requests=100)
    desk, phase = world.loop.desks[NAME], world.phase
    watched = desk.evidence.watched
    for _ in range(60):
        _exposed_to(world, requests=100)
        assert world.store.read_heartbeat().blind == (NAME,)  # type: ignore[union-attr]
        assert (desk.decision.page, desk.decision.why[:10]) == (True, "blind: of ")
    assert (world.phase, world.status, desk.evidence.watched) == (phase, Status.PROGRESSING, watched)
    for _ in range(16):
        _exposed_to(world)
    assert world.store.read_heartbeat().blind == ()  # type: ignore[union-attr]
    assert not world.loop.desks[NAME].decision.page
    assert desk.evidence.watched > watched, "it goes on"


def test_blind_does_not_keep_from_rolling_back(world: World) -> None:
    """Automation may always lower exposure, and so may a person."""
    for _ in range(30):
        _exposed_to(world)
    for _ in range(10):
        _exposed_to(world, requests=100)
    assert world.loop.blind
    world.loop.act(NAME, Action.ROLL_BACK, "ada", "enough", world.now)
    assert world.status is Status.ROLLED_BACK


@pytest.mark.parametrize("elapsed", [30.0, 1.0], ids=["frozen", "clock set"])
def test_requests_whose_end_we_missed_are_no_failures(world: World, elapsed: float) -> None:
    """Open before a gap, never heard of again: in neither arm do they fail, and the gap is no dwell."""
    for _ in range(5):
        world.second()
    evidence = world.loop.desks[NAME].evidence
    watched = evidence.watched
    opened = [
        outcome(number, world.now - 0.5, number % 2 == 0, False, final=False, generation=evidence.generation) for number in range(900, 1000)
    ]
    world.loop.receive(opened, world.now)
    world.now += 30.0
    world.loop.tick(world.now, elapsed)
    assert evidence.watched == watched
    for _ in range(15):
        world.second()
    assert [evidence.seen(arm, "errors").total for arm in ("canary", "stable")] == [0, 0]
    assert world.status is Status.PROGRESSING
