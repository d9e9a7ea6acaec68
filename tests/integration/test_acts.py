"""What people do to a rollout, by the command, on the real Envoy: back to a phase, one cohort out, an override, another attempt."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from tests.support.standing import Standing, standing, typed

ROLLOUT, STABLE, CANARY = "gpt-5-mini", "gpt-5", "gpt-5-mini"
PEOPLE = [(f"user-{number}", "DE" if number % 2 else "US") for number in range(160)]


def _germany(document: dict[str, Any]) -> None:
    """A cohort of its own, and nothing moves by itself."""
    rollout = document["rollouts"][ROLLOUT]
    rollout["start"] = "manual"
    rollout["cohorts"] = [{"name": "germany", "country": ["DE"]}, {"name": "everyone"}]
    for phase in rollout["phases"]:
        phase["min_dwell"] = "10m"


@pytest.fixture(scope="module")
def served() -> Iterator[Standing]:
    """At 50 %."""
    with standing(_germany) as made:
        assert said(made, "start", "--why", "begin") == f"{ROLLOUT} is progressing at 1% (generation 2)"
        for _ in range(3):
            said(made, "promote", "--why", "further")
        yield made


def run(served: Standing, *words: str) -> subprocess.CompletedProcess[str]:
    where = ["--api", f"http://127.0.0.1:{served.ports.api}", "--token-file", str(served.directory / "extproc.db.token")]
    command = [sys.executable, "-m", "extproc", words[0], ROLLOUT, *words[1:], *where]
    return typed(lambda: subprocess.run(command, capture_output=True, text=True, timeout=120))


def said(served: Standing, *words: str) -> str:
    done = run(served, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    served.followed()
    return done.stdout.strip()


def refused(served: Standing, *words: str) -> str:
    done = run(served, *words)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def met(served: Standing) -> dict[str, str]:
    """User -> model, of everybody."""
    found = {}
    with httpx.Client(trust_env=False, timeout=60) as client:
        for user, country in PEOPLE:
            answer = served.ask(client, x_user_id=user, x_geo_country=country)
            assert answer.status_code == 200
            found[user] = answer.json()["model"]
    return found


def on_canary(models: Mapping[str, str], country: str) -> set[str]:
    return {user for user, where in PEOPLE if where == country and models[user] == CANARY}


def test_one_cohort_goes_back_and_nobody_else_is_moved(served: Standing) -> None:
    """Every German meets stable, everybody else exactly what they met before; the Journal names cohort, person and reason."""
    before = met(served)
    assert len(on_canary(before, "DE")) > 20
    told = said(served, "rollback", "--cohort", "germany", "--why", "complaints from Berlin")
    assert told.startswith(f"cohort germany is on stable; for everybody else {ROLLOUT} is progressing at 50% (generation ")
    after = met(served)
    assert on_canary(after, "DE") == set()
    assert on_canary(after, "US") == on_canary(before, "US")
    assert len(on_canary(after, "US")) > 20
    entry = served.api("GET", "/v1/journal", params={"limit": "1"})["entries"][0]
    assert (entry["action"], entry["why"], entry["numbers"]["cohort"]) == ("roll_back_cohort", "complaints from Berlin", "germany")
    assert "cohort 'germany' is not in the rollout, or out already" in refused(served, "rollback", "--cohort", "germany", "--why", "again")
    assert "always move" in refused(served, "rollback", "--cohort", "everyone", "--drain", "--why", "x")


def test_back_to_an_earlier_phase_moves_only_those_who_came_later(served: Standing) -> None:
    """Whoever meets the canary at 5 % met it at 50 %, and the cohort that is out stays out."""
    before = met(served)
    assert "there is no phase '7%'" in refused(served, "return", "--to", "7%", "--why", "x")
    assert "that is not a phase before 50%" in refused(served, "return", "--to", "100%", "--why", "x")
    told = said(served, "return", "--to", "5%", "--why", "too fast")
    assert told.startswith(f"{ROLLOUT} is progressing at 5% (generation ")
    after = met(served)
    assert on_canary(after, "DE") == set()
    assert on_canary(after, "US") < on_canary(before, "US")
    # Eleven people more or less are one in a million.
    assert len(on_canary(after, "US")) < 0.05 * 80 + 11


def test_a_person_answers_for_missing_evidence_for_a_while(served: Standing) -> None:
    """Status says who may be asked, and until when; the gates stay, and nobody is moved by it."""
    before = met(served)
    assert "goes with --for" in refused(served, "promote", "--override-gates", "--why", "x")
    assert "it must end within 7 days" in refused(served, "promote", "--override-gates", "--for", "8d", "--why", "x")
    told = said(served, "promote", "--override-gates", "--for", "2h", "--why", "reviewed by hand")
    assert told.splitlines()[1].startswith("for 2h nothing is held for missing evidence")
    assert met(served) == before
    entry = served.api("GET", "/v1/journal", params={"limit": "1"})["entries"][0]
    assert (entry["action"], entry["why"]) == ("override", "reviewed by hand")
    assert 7_000 < entry["numbers"]["until"] - time.time() < 7_200


def test_another_attempt_is_asked_for_by_name_and_has_half_the_alpha(served: Standing) -> None:
    """After a rollback nobody meets the canary until then; every cohort is in again."""
    assert said(served, "rollback", "--why", "enough").startswith(f"{ROLLOUT} is rolled back (generation ")
    assert set(met(served).values()) == {STABLE}
    assert "add --retry to try again: attempt 2, which has half of this one's alpha" in refused(served, "start", "--why", "x")
    told = said(served, "start", "--retry", "--why", "mended")
    assert told.endswith("attempt 2, which has 1/2 of alpha; its evidence begins anew")
    said(served, "promote", "--why", "further")
    said(served, "promote", "--why", "further")
    now = met(served)
    assert on_canary(now, "DE")
    assert on_canary(now, "US")
