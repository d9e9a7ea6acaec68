"""Who acts, as the Journal has it."""

from __future__ import annotations

import pytest

from extproc.cli.act import AUTOMATION, who
from extproc.release import AUTOMATION as DECIDES


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"LOGNAME": "mary"}, "mary"),
        ({"LOGNAME": "root", "SUDO_USER": "mary"}, "mary"),
        ({"LOGNAME": "extproc"}, "somebody as extproc"),
        ({"LOGNAME": "extproc", "EXTPROC_ACTOR": "mary"}, "mary"),
        ({"LOGNAME": "mary", "EXTPROC_ACTOR": "extproc"}, "somebody as extproc"),
    ],
)
def test_nobody_is_taken_for_the_automation(environment: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that was given, else who became another user, else the user; the automation's name is nobody's."""
    for one in ("LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER", "EXTPROC_ACTOR"):
        monkeypatch.delenv(one, raising=False)
    for one, value in environment.items():
        monkeypatch.setenv(one, value)
    assert who() == name
    assert AUTOMATION == DECIDES
