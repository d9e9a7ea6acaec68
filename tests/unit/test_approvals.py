"""What users say: from the log to ratings; who is named how, what counts, what does not, and that a restart doubles nothing."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from extproc import contract, spec
from extproc.cli.picture import users_picture
from extproc.cli.write import filled_template
from extproc.controller.approvals import Approvals, approval
from extproc.controller.hearing import FeedbackKeeper
from extproc.controller.loop import Loop
from extproc.controller.users import LINES, Users, _before
from extproc.domain import Answered, Arm, Feedback, FeedbackKind, FeedbackTerms, Outcome, Rating, Reason, Spec
from extproc.render import EnvoySettings, envoy_snippet, envoy_yaml
from extproc.store import open_store
from extproc.store.feedback import FeedbackFile, FeedbackLog, Keep
from tests.support.outcomes import outcome

TERMS = FeedbackTerms(600.0, (), "", True)
ANSWER = Answered("new", 2, "everyone", Arm.CANARY, "0" * 15 + "7", True, 1000.0)
LATE = 1000.0 + TERMS.told_at


def said(kind: FeedbackKind = FeedbackKind.THUMBS_UP, request: str = "", at: float = 1010.0, **changes: Any) -> Feedback:
    plain = Feedback("", kind, None, request, None if request else ANSWER, at, at)
    return replace(plain, **changes)


def met(number: int = 0, start: float = 1000.0, arm: Arm = Arm.CANARY, **changes: Any) -> Outcome:
    return outcome(number, start, **({"arm": arm} | changes))


def heard(*lines: Feedback, outcomes: Sequence[Outcome] = (), now: float = 1020.0) -> tuple[Approvals, list[Rating]]:
    approvals = Approvals(TERMS)
    approvals.meet(outcomes)
    approvals.hear(lines, now)
    return approvals, approvals.ripe(LATE)


# --------------------------------------------------------------------------------------------------------------------- opinions
@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (FeedbackKind.THUMBS_UP, None, 1.0),
        (FeedbackKind.THUMBS_DOWN, None, 0.0),
        (FeedbackKind.RATING, 1.0, 0.0),
        (FeedbackKind.RATING, 4.0, 0.75),
        (FeedbackKind.RATING, 5.0, 1.0),
        (FeedbackKind.REGENERATE, None, None),
        (FeedbackKind.COPY, None, None),
        (FeedbackKind.EDIT, 0.5, None),
        (FeedbackKind.SESSION_END, None, None),
    ],
)
def test_what_is_an_opinion(kind: FeedbackKind, value: float | None, expected: float | None) -> None:
    """Thumbs and ratings, on one scale; what people do with an answer is none."""
    assert approval(said(kind, value=value)) == expected


def test_the_last_word_stands_and_counts_once() -> None:
    """Up, then two stars, then a copy: two stars; told when it is old enough, and not before."""
    approvals = Approvals(TERMS)
    approvals.hear([said(), said(FeedbackKind.RATING, value=2.0), said(FeedbackKind.COPY)], 1020.0)
    assert (approvals.ripe(LATE - 0.1), approvals.waiting) == ([], 1)
    (rating,) = approvals.ripe(LATE)
    assert (rating.value, rating.measure, rating.arm, rating.generation, rating.start) == (0.25, "thumbs", Arm.CANARY, 2, 1000.0)
    assert (approvals.ripe(LATE), approvals.waiting) == ([], 0)


def test_a_request_id_is_looked_up_and_a_token_speaks_for_itself() -> None:
    """Both count for the phase and the arm that answered."""
    _, (by_id,) = heard(said(request="s0"), outcomes=[met(arm=Arm.CONTROL, generation=5)])
    assert (by_id.arm, by_id.generation, by_id.stream_id, by_id.unit) == (Arm.CONTROL, 5, "s0", f"{0:016x}")
    _, (by_token,) = heard(said())
    assert (by_token.unit, by_token.cohort, by_token.rollout) == (ANSWER.unit, "everyone", "new")


def test_a_user_may_be_faster_than_the_access_log() -> None:
    """Feedback waits a little for its request; then it is counted as nobody's."""
    approvals = Approvals(TERMS)
    approvals.hear([said(request="s0"), said(request="s1")], 1012.0)
    approvals.meet([met()])
    approvals.hear([], 1013.0)
    assert (approvals.waiting, approvals.lost["unknown"]) == (1, 0)
    approvals.hear([], 1021.0)
    assert (approvals.waiting, approvals.lost["unknown"]) == (1, 1)


def test_what_is_not_compared_has_no_say() -> None:
    """The rest of stable, who was put on an arm by hand, units that are not recognised again."""
    outcomes = [met(0, arm=Arm.REST), met(1, reason=Reason.OVERRIDE), met(2, durable=False)]
    lines = [said(request=f"s{number}") for number in range(3)]
    tokens = [said(token=replace(ANSWER, arm=Arm.REST)), said(token=replace(ANSWER, durable=False, unit="f" * 16))]
    approvals, ratings = heard(*lines, *tokens, outcomes=outcomes, now=1100.0)
    assert (ratings, approvals.lost["unknown"]) == ([], 5)


def test_what_comes_after_the_window_is_late() -> None:
    """It neither counts nor changes what was said in time."""
    after = 1000.0 + TERMS.window + 0.1
    approvals, (rating,) = heard(said(), said(FeedbackKind.THUMBS_DOWN, at=after, received=after))
    assert (rating.value, approvals.lost["late"]) == (1.0, 1)
    approvals, ratings = heard(said(request="s0", at=after), outcomes=[met()])
    assert (ratings, approvals.lost["late"]) == ([], 1)


def test_memory_is_bounded() -> None:
    """Requests that are forgotten before their time, and answers without room, are counted."""
    approvals = Approvals(TERMS, requests_kept=10, heard_kept=2)
    approvals.meet([met(number) for number in range(15)])
    assert approvals.lost["forgotten"] == 5
    approvals.hear([said(request=f"s{number}") for number in (10, 11, 12)], 1011.0)
    assert (approvals.waiting, approvals.lost["dropped"]) == (2, 1)
    approvals.ripe(1000.0 + TERMS.looked_at + 1.0)
    assert len(approvals._requests) == 0


def test_how_many_speak_is_told_by_arm_in_this_visit() -> None:
    """Each answer once, however much is said of it; a new visit begins anew, and what comes of an older one is not mixed in."""
    approvals = Approvals(TERMS)
    approvals.meet([met(number, arm=Arm.CANARY if number < 4 else Arm.CONTROL) for number in range(6)])
    approvals.hear([said(request="s0"), said(FeedbackKind.THUMBS_DOWN, request="s0"), said(request="s5")], 1011.0)
    assert approvals.response["new"].document() == {
        "canary": {"requests": 4, "heard": 1, "rate": 0.25},
        "control": {"requests": 2, "heard": 1, "rate": 0.5},
    }
    approvals.meet([met(10, generation=3), met(11, generation=2)])
    approvals.hear([said(request="s1")], 1012.0)
    assert approvals.response["new"].document() == {"canary": {"requests": 1, "heard": 0, "rate": 0.0}}


def test_people_see_how_many_speak_and_what_was_not_looked_at(tmp_path: Path) -> None:
    """In `extproc status`: by arm, since those who speak choose to."""
    stand = Stand(tmp_path)
    stand.users.hear([met(number, arm=Arm.CANARY if number < 4 else Arm.CONTROL) for number in range(6)])
    stand.file.write([said(request="s0"), said(request="s5"), said(request="nobody's")], 1010.0)
    for now in (1011.0, 1030.0):
        stand.users.look(now)
    console = Console(file=io.StringIO(), width=120)
    console.print(users_picture(stand.users.document()))
    shown = console.file.getvalue()
    stand.file.close()
    stand.store.close()
    assert "2 answers that users spoke of are not old enough yet" in shown
    assert "new: spoken of: canary 25.0% (of 4), control 50.0% (of 2)" in shown
    assert "not looked at: feedback unknown 1" in shown
    assert b'extproc_feedback_response_rate{arm="canary",rollout="new"} 0.25' in stand.users.exposition()


# ------------------------------------------------------------------------------------------------------------------------- log
def written(**blocks: Any) -> str:
    values = yaml.safe_load(filled_template("chat", "old", "new"))
    return yaml.safe_dump(values | blocks, sort_keys=False)


def answered(number: int, start: float) -> Answered:
    return replace(ANSWER, unit=f"{number:016x}", start=start)


class Stand:
    """A loop, its log, and users before them."""

    def __init__(self, directory: Path) -> None:
        url = f"sqlite:{directory / 'x.db'}"
        self.store = open_store(url, writer=True)
        self.loop = Loop(written(feedback={"window": "10m"}), self.store, 1000.0)
        self.file = FeedbackFile(Path(contract.feedback_path(url)), Keep())
        self.keeper = FeedbackKeeper(self.loop, self.store, "127.0.0.1:0")
        self.users = Users(self.loop, self.keeper)
        self.rated: list[Rating] = []
        self.base = 0
        """The sequence before the log's first line."""
        self.loop.rate = lambda ratings, silent=None: self.rated.extend(ratings)  # type: ignore[method-assign]

    def write(self, *numbers: int, at: float = 1010.0) -> None:
        self.file.write([said(token=answered(number, 1000.0 + number / 1000), at=at, received=at) for number in numbers], at)
        if not self.base:
            with closing(FeedbackLog(self.file.path)) as log:
                self.base = log.after(0, 1)[0][0] - 1

    @property
    def read(self) -> int:
        return self.keeper.read_up_to - self.base


@pytest.fixture
def stand(tmp_path: Path) -> Any:
    made = Stand(tmp_path)
    yield made
    made.file.close()
    made.store.close()


def test_the_log_is_followed_and_told_once(stand: Stand) -> None:
    """From a file that is not there yet, in chunks; how far it was read is told to who keeps it."""
    stand.users.look(1005.0)
    stand.write(*range(LINES + 200))
    stand.users.look(1011.0)
    assert (stand.read, stand.users.document()["feedback"]["waiting"]) == (LINES, LINES)
    stand.users.look(1012.0)
    stand.users.look(LATE + 2.0)
    stand.users.look(LATE + 3.0)
    assert (stand.read, len(stand.rated), len({one.stream_id for one in stand.rated})) == (LINES + 200,) * 3


def test_a_restart_reads_again_what_was_not_looked_at(stand: Stand) -> None:
    """And nothing that is older than any answer which may still count."""
    stand.write(*range(10), at=1010.0)
    stand.write(*range(10, 20), at=1900.0)
    stand.users.look(1901.0)
    again = Users(stand.loop, stand.keeper)
    again.look(1902.0)
    assert again.document()["feedback"]["waiting"] == 0, "these answers are older than the window"
    assert (stand.read, again.document()["lost"]["feedback_late"]) == (20, 10)


def test_where_a_log_is_begun(stand: Stand) -> None:
    """The last line before an instant, whatever the length."""
    log = FeedbackLog(stand.file.path)
    for number in range(40):
        stand.write(number, at=2000.0 + number)
    found = [_before(log, 2.0 + since) for since in (0.0, 2000.0, 2000.5, 2017.0, 2039.5, 9999.0)]
    log.close()
    assert found[:2] == [0, 0]
    assert [one - stand.base for one in found[2:]] == [1, 17, 40, 40]


# ----------------------------------------------------------------------------------------------------------------- Spec and Envoy
def loaded(**blocks: Any) -> Spec:
    return spec.load(written(**blocks))


def test_what_the_spec_says_of_feedback() -> None:
    """Thumbs are compared where somebody listens, at the age that the window says; without the block there is nothing of all that."""
    given = loaded(feedback={"window": "30m", "origins": ["https://chat.example.com"], "keys_file": "/keys"})
    assert given.feedback == FeedbackTerms(1800.0, ("https://chat.example.com",), "/keys", False)
    assert given.rollouts["new"].matures == {"thumbs": 1810.0}
    assert "thumbs" in [gate.measure for gate in given.rollouts["new"].phases[0].gates]
    assert (loaded().feedback, loaded().rollouts["new"].matures) == (None, {})


def test_envoy_brings_feedback_past_the_decision() -> None:
    """One exact path, a cluster, no access-log entry, and the request id in answers; nothing of it without feedback."""
    settings = EnvoySettings(feedback="127.0.0.1:7000")
    with_, without = (yaml.safe_load(envoy_snippet(given, settings, "a test")) for given in (loaded(feedback={}), loaded()))
    assert with_["routes"][0]["match"] == {"path": "/v1/feedback"}
    assert with_["routes"][0]["typed_per_filter_config"]["envoy.filters.http.ext_proc"]["disabled"] is True
    assert with_["http_connection_manager"]["always_set_request_id_in_response"] is True
    assert "and_filter" in with_["http_connection_manager"]["access_log"][0]["filter"]
    (cluster,) = [one for one in with_["clusters"] if one["name"] == "extproc_feedback"]
    assert "7000" in str(cluster)
    assert "feedback" not in str(without)
    tokens = yaml.safe_load(envoy_snippet(loaded(feedback={"tokens": True}), settings, "a test"))["http_filters"]
    assert "x-extproc-feedback" in str(tokens[0])
    assert "x-extproc-feedback" not in str(with_)
    assert "always_set_request_id_in_response" not in envoy_yaml(loaded(), settings, "a test")
