"""People of the demo: the worse an answer, the more of them ask again, leave, and say so."""

from __future__ import annotations

from random import Random

import pytest

from extproc.demo.readers import asks_again, stays, thinks, thumb

GOOD, HALF = 0.85, 0.45
PEOPLE = 20_000


def share(what: list[bool]) -> float:
    return sum(what) / len(what)


def test_who_is_not_content_asks_again() -> None:
    """2 % anyway; one in five of those who got half an answer."""
    random = Random(1)
    assert share([asks_again(GOOD, random) for _ in range(PEOPLE)]) == pytest.approx(0.02, abs=0.005)
    assert share([asks_again(HALF, random) for _ in range(PEOPLE)]) == pytest.approx(0.195, abs=0.01)


def test_who_likes_an_answer_stays() -> None:
    """And nobody for ever, however good it is."""
    random = Random(2)
    assert share([stays(HALF, random) for _ in range(PEOPLE)]) == pytest.approx(HALF, abs=0.015)
    assert share([stays(1.0, random) for _ in range(PEOPLE)]) == pytest.approx(0.85, abs=0.015)


def test_few_say_anything_and_they_say_what_they_think() -> None:
    """One in five, and of these as many are content as the answer is good."""
    random = Random(3)
    said = [thumb(GOOD, random) for _ in range(PEOPLE)]
    spoken = [one for one in said if one]
    assert len(spoken) / PEOPLE == pytest.approx(0.2, abs=0.015)
    assert share([one == "thumbs_up" for one in spoken]) == pytest.approx(GOOD, abs=0.02)
    assert set(spoken) == {"thumbs_up", "thumbs_down"}


def test_people_of_a_demo_are_quick() -> None:
    """Some tenths of a second at least, most within two seconds."""
    random = Random(4)
    times = sorted(thinks(random) for _ in range(PEOPLE))
    assert times[0] >= 0.3
    assert times[int(0.95 * PEOPLE)] < 2.0
