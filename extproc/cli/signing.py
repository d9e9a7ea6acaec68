"""QA headers: which rollout, which secret, how long."""

from __future__ import annotations

from extproc.assign import sign_qa
from extproc.assign.tokens import LONGEST_QA
from extproc.domain import Arm, Spec
from extproc.errors import Problem, SettingsError
from extproc.router.secrets import SHORTEST, read_secret
from extproc.spec.units import duration

_ARMS = {"canary": Arm.CANARY, "stable": Arm.CONTROL}


def signed(spec: Spec, name: str, arm: str, lifetime: str, now: float) -> str:
    """`x-canary-qa: arm=...;exp=...;sig=...`, good from now on; raises SettingsError with the next step where it cannot be made."""
    rollout = spec.rollouts.get(name)
    if rollout is None:
        known = ", ".join(spec.rollouts) or "none"
        raise SettingsError(Problem("sign.rollout", name, "there is no such rollout", f"there are: {known}"))
    reference = rollout.overrides.qa_secret
    if reference is None:
        hint = "add overrides: {qa: {secret: {env: CANARY_QA_SECRET}}} to it"
        raise SettingsError(Problem("sign.no-qa", f"rollouts.{name}", "takes no QA headers", hint))
    if arm not in _ARMS:
        raise SettingsError(Problem("sign.arm", "--arm", f"there is no arm {arm!r}", "canary or stable"))
    secret = read_secret(reference)
    if len(secret) < SHORTEST:
        what = f"has {len(secret)} bytes, and {SHORTEST} are the least" if secret else "is empty or cannot be read here"
        raise SettingsError(Problem("sign.secret", reference.place, what, "it must be the router's; any long random text is good"))
    return f"{rollout.overrides.qa_header}: {sign_qa(secret, name, _ARMS[arm], int(now + _seconds(lifetime)))}"


def _seconds(lifetime: str) -> float:
    try:
        seconds = duration(lifetime)
        # A minute is left for clocks that differ.
        if not 1 <= seconds <= LONGEST_QA - 60:
            raise ValueError("is not between 1s and 31d less a minute: a header that is good for ever is a key")
    except ValueError as error:
        raise SettingsError(Problem("sign.for", "--for", f"{lifetime!r} {error}", "write 15m, 1h or 2d")) from error
    return seconds
