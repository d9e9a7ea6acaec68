"""Copies for the judge on the real Envoy: of whom, of what, and who never notices."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from extproc import contract
from extproc.domain import Arm
from extproc.judge.sampling import Copy, Gathered
from extproc.render import Profile
from extproc.wire import read_copy
from tests.support.envoy_stand import OLD_ENVOY, PATIENCE, Model, Stand, a_rollout, document, standing

KEY = "sk-client-key-of-a-user"
USERS = 300


class Recorder:
    """A sampler that keeps everything."""

    def __init__(self, directory: Path) -> None:
        self.copies: list[Gathered] = []
        self.raw: list[bytes] = []
        self._server = grpc.server(ThreadPoolExecutor(64))
        service, _, method = contract.PROCESS_METHOD[1:].partition("/")
        handler = grpc.stream_stream_rpc_method_handler(self._take)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
        self._server.add_insecure_port(f"unix:{directory}/s.sock")
        self._server.start()

    def _take(self, messages: Iterator[bytes], _: Any) -> Iterator[bytes]:
        copy = Copy(1 << 20, time.time())
        try:
            for message in messages:
                self.raw.append(message)
                copy.take(read_copy(message))
                if copy.ended:
                    break
        except grpc.RpcError:
            pass
        gathered = copy.end()
        if gathered is not None:
            self.copies.append(gathered)
        return
        yield  # no answer, ever: Envoy looks on

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, len(self.copies)
            time.sleep(0.02)

    def at_rest(self) -> None:
        """Until no copy has come for a while."""
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < 1.0:
            if len(self.raw) != seen:
                seen, since = len(self.raw), time.monotonic()
            time.sleep(0.05)

    def close(self) -> None:
        self._server.stop(0)


def judged(sample: str = "100%", share: str = "25%") -> dict[str, Any]:
    """A quarter of everybody on the canary, in two cohorts; a second rollout that nobody judges."""
    cohorts = [{"name": "staff", "tier": ["internal"]}, {"name": "everyone"}]
    found = document(
        {"kind": "edge", "trusted_hops": 1, "set_by": {"x-user-id": "the test", "x-user-tier": "the test"}},
        {},
        {
            "chat": a_rollout(share, {"paths": ["/v1/"]}, cohorts),
            "plain": a_rollout("50%", {"paths": ["/plain/"]}),
        },
    )
    for name, rollout in found["rollouts"].items():
        for phase in rollout["phases"]:
            phase["gates"] = {"errors": {}, **({"judge": {}} if name == "chat" else {})}
    found["judge"] = {"judges": [{"url": "http://127.0.0.1:1/v1", "model": "a-judge"}], "sample": sample}
    return found


@contextmanager
def sampled(
    directory: Path, profile: Profile, envoy: Path | None, sample: str = "100%", share: str = "25%"
) -> Iterator[tuple[Stand, Recorder]]:
    models = {name: Model(name) for name in ("old", "new")}
    asked = judged(sample, share)
    asked["models"] = {name: {"endpoint": model.endpoint} for name, model in models.items()}
    recorder = Recorder(directory)
    try:
        with standing(asked, models, directory, profile=profile, envoy=envoy) as stand:
            yield stand, recorder
    finally:
        recorder.close()


@pytest.fixture(scope="module", params=[(Profile.FULL, None), (Profile.CORE, OLD_ENVOY)], ids=["full-1.40", "core-1.36"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stand, Recorder]]:
    profile, envoy = request.param
    with sampled(tmp_path_factory.mktemp("sampled"), profile, envoy) as made:
        yield made


def test_canary_and_control_are_copied_and_nobody_else(both: tuple[Stand, Recorder]) -> None:
    """At 100 %: each of their requests once, with its assignment; of the rest, and of a rollout that nobody judges, none."""
    stand, recorder = both
    recorder.copies.clear()
    answered = Counter(stand.answered(x_user_id=f"user-{number}") for number in range(USERS))
    for number in range(50):
        stand.answered("/plain/chat", x_user_id=f"user-{number}")
    recorder.until(lambda: sum(one.assigned.arm is Arm.CANARY for one in recorder.copies) == answered["new"])
    recorder.at_rest()
    arms = Counter(one.assigned.arm for one in recorder.copies)
    assert arms.keys() == {Arm.CANARY, Arm.CONTROL}
    assert arms[Arm.CANARY] == answered["new"]
    assert 0.11 * USERS < arms[Arm.CONTROL] < 0.39 * USERS  # a quarter expected, five standard deviations either way
    assert {one.assigned.rollout for one in recorder.copies} == {"chat"}
    assert len({one.request for one in recorder.copies}) == len(recorder.copies)
    assert len({one.unit for one in recorder.copies}) == len(recorder.copies)


def test_a_copy_is_what_was_sent_and_answered(both: tuple[Stand, Recorder]) -> None:
    """Bodies byte for byte, JSON and SSE; the end is seen."""
    stand, recorder = both
    user = next(one for one in (f"user-{number}" for number in range(200)) if stand.answered(x_user_id=one) == "new")
    recorder.at_rest()
    recorder.copies.clear()
    answer = stand.ask(x_user_id=user, body={"model": "old", "messages": [{"role": "user", "content": "é" * 40_000}]})
    stream = stand.ask(x_user_id=user, body=b'{"model":"old","stream":true}')
    recorder.until(lambda: len(recorder.copies) == 2)
    whole, events = sorted(recorder.copies, key=lambda one: len(one.exchange.request), reverse=True)
    assert whole.exchange.response == answer.content
    assert len(whole.exchange.request) > 80_000
    assert events.exchange.request == b'{"model":"old","stream":true}'
    assert events.exchange.response == stream.content
    assert events.exchange.response_content_type.startswith("text/event-stream")
    assert all(one.exchange.response_ended and one.exchange.status == 200 for one in recorder.copies)


def test_no_credential_and_no_name_is_copied(both: tuple[Stand, Recorder]) -> None:
    """Of the headers only those that say how to read a body: no key, no cookie, no user id."""
    stand, recorder = both
    recorder.raw.clear()
    for number in range(20):
        stand.ask(x_user_id=f"user-{number}", authorization=f"Bearer {KEY}", cookie="session=very-secret")
    recorder.until(lambda: len(recorder.raw) > 10)
    told = b"".join(recorder.raw)
    for secret in (KEY.encode(), b"very-secret", b"user-1", b"authorization", b"cookie"):
        assert secret not in told


def test_copying_stops_at_once_by_a_runtime_key(both: tuple[Stand, Recorder]) -> None:
    """Without the router, the controller, or a new configuration."""
    stand, recorder = both
    recorder.at_rest()  # those of the test before
    with stand.runtime(contract.RUNTIME_SAMPLE, 0):
        recorder.copies.clear()
        for number in range(60):
            stand.answered(x_user_id=f"user-{number}")
        recorder.at_rest()
        assert recorder.copies == []
    for number in range(60):
        stand.answered(x_user_id=f"user-{number}")
    recorder.until(lambda: bool(recorder.copies))


def test_the_share_is_the_same_in_both_arms(tmp_path: Path) -> None:
    """A third of each, tossed for each request: within five standard deviations; and so of each other."""
    with sampled(tmp_path, Profile.FULL, None, "33%", "50%") as (stand, recorder):
        # One half meets the canary, and the other is control: what stable answers is control's.
        met = Counter(stand.answered(x_user_id=f"user-{number % 60}") for number in range(660))
        recorder.at_rest()
        arms = Counter(one.assigned.arm for one in recorder.copies)
        canary, control = arms[Arm.CANARY] / met["new"], arms[Arm.CONTROL] / met["old"]
        for share, asked in ((canary, met["new"]), (control, met["old"])):
            assert abs(share - 0.33) < 5 * (0.33 * 0.67 / asked) ** 0.5
        assert abs(canary - control) < 5 * (0.33 * 0.67 * (1 / met["new"] + 1 / met["old"])) ** 0.5


@pytest.mark.parametrize("how", ["nobody listens", "nobody reads"])
def test_clients_do_not_notice_a_sampler_that_is_away(tmp_path: Path, how: str) -> None:
    """Every request is answered, whole and soon: with a socket that nobody has, and with one that takes and never reads."""
    models = {name: Model(name) for name in ("old", "new")}
    asked = judged()
    asked["models"] = {name: {"endpoint": model.endpoint} for name, model in models.items()}
    stuck = threading.Event()

    def never(messages: Iterator[bytes], _: Any) -> Iterator[bytes]:
        stuck.wait(60)
        return
        yield

    server = grpc.server(ThreadPoolExecutor(4))
    service, _, method = contract.PROCESS_METHOD[1:].partition("/")
    handler = grpc.stream_stream_rpc_method_handler(never)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    if how == "nobody reads":
        server.add_insecure_port(f"unix:{tmp_path}/s.sock")
        server.start()
    try:
        with standing(asked, models, tmp_path) as stand:
            body = {"model": "old", "messages": [{"role": "user", "content": "x" * 300_000}]}
            took = []
            for number in range(200):
                begun = time.monotonic()
                assert stand.ask(x_user_id=f"user-{number}", body=body).status_code == 200
                took.append(time.monotonic() - begun)
            assert sorted(took)[180] < 1.0, "all but a tenth: the machine may be late by itself"
    finally:
        stuck.set()
        server.stop(0)
