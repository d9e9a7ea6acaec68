"""What the controller tells its feedback process, and what a person may set of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from extproc import contract
from extproc.controller.feedback.limits import Bucket, Limits
from extproc.controller.feedback.origins import check_origins
from extproc.errors import ExtprocError, Problem, SettingsError
from extproc.store.feedback import Keep
from extproc.store.feedback.file import DAY
from extproc.transport.security import PRIVATE, Security


@dataclass(frozen=True, slots=True)
class FeedbackSettings:
    """One line of JSON, over a pipe: it has secrets, and must be in no list of processes."""

    store: str
    """URL of the store; the log lies beside it."""
    signing_keys: tuple[str, ...]
    """Keys of tokens in hex (`assign.answered.feedback_key`), the newest first. The router signs with the first."""
    listener: int = -1
    """Number of the inherited socket that listens."""
    listen: str = contract.DEFAULT_FEEDBACK_LISTEN
    """HOST:PORT for whoever makes that socket."""
    origins: tuple[str, ...] = ()
    """Pages that may post from other hosts, such as https://chat.example.com."""
    keys_file: str = ""
    """File of feedback keys, one per line; read again when it changes. Empty: servers need tokens too."""
    admin_digest: str = ""
    """SHA-256 of the API's token in hex: a feedback key that is the same is refused, without this process knowing the token."""
    allow_request_ids_from_browsers: bool = False
    """A request id alone is enough: whoever knows it was answered, or reads the logs of who was."""
    window: float = DAY
    """Seconds after an answer in which feedback counts."""
    trusted_hops: int = 0
    """Proxies of ours in front that append to x-forwarded-for; 1 behind one Envoy with use_remote_address."""
    limits: Limits = field(default_factory=Limits)
    keep: Keep = field(default_factory=Keep)
    security: Security = PRIVATE
    """Of `listen`, where a network reaches it."""

    def check(self) -> None:
        """Raise SettingsError with everything that does not fit."""
        problems: list[Problem] = []
        try:
            check_origins(self.origins)
        except ExtprocError as error:
            problems += error.problems
        if not self.signing_keys or any(len(key) < 32 or not _is_hex(key) for key in self.signing_keys):
            hint = "assign.answered.feedback_key makes one from the store's secret"
            problems.append(Problem("feedback.signing-keys", "signing_keys", "there is none, or one of less than 16 bytes", hint))
        if self.window <= 0 or self.trusted_hops < 0 or self.keep.seconds <= 0 or self.keep.size <= 0:
            problems.append(Problem("feedback.settings", "settings", "window, hops or keep are not positive", "leave them out"))
        problems += [
            Problem("feedback.limits", f"limits.{name}", "takes too little", "burst is at least 100 (1 for an answer), rate above 0")
            for name, bucket, least in (
                ("address", self.limits.address, 100),
                ("key", self.limits.key, 100),
                ("answer", self.limits.answer, 1),
            )
            if bucket.burst < least or bucket.rate <= 0
        ]
        if problems:
            raise SettingsError(problems)

    def write(self) -> bytes:
        """One line of JSON."""
        return orjson.dumps(asdict(self))

    @classmethod
    def read(cls, line: bytes) -> FeedbackSettings:
        """What `write` wrote."""
        given: dict[str, Any] = orjson.loads(line)
        limits: dict[str, Any] = given.pop("limits")
        buckets = {name: Bucket(**limits[name]) for name in ("address", "key", "answer")}
        given |= {name: tuple(given[name]) for name in ("signing_keys", "origins")}
        given |= {"limits": Limits(**{**limits, **buckets}), "keep": Keep(**given["keep"]), "security": Security(**given["security"])}
        return cls(**given)


def _is_hex(text: str) -> bool:
    try:
        bytes.fromhex(text)
    except ValueError:
        return False
    return True
