"""A gathered copy -> a sample: assembled, looked at by rules, redacted. From here on there is no text that is not redacted."""

from __future__ import annotations

from collections import Counter
from typing import Final

from extproc.domain import Ending, Purpose, Reason, Sample, Transcript
from extproc.judge.assembly import assemble
from extproc.judge.redact import Redacted, Redactor, redact_json_text
from extproc.judge.sampling.choice import purpose
from extproc.judge.sampling.copy import Gathered
from extproc.judge.tripwires import tripwires

RARE_BELOW: Final = 200
"""A cohort of which so few copies have come in an hour is rare: its answers are kept for eyes as well."""
HOUR: Final = 3600.0


class Sampler:
    """Turns copies into samples."""

    def __init__(self, redactor: Redactor, language: str | None) -> None:
        """`language`: ISO 639-1, that every answer must have; None: the user's own."""
        self._redactor = redactor
        self._language = language
        self._hour = -1
        self._copies: Counter[str] = Counter()
        """By cohort, in this hour."""

    def sample(self, gathered: Gathered, chosen: bool) -> Sample | None:
        """None where it is not kept."""
        transcript = assemble(gathered.exchange)
        assigned = gathered.assigned
        found = tuple(one.value for one in tripwires(transcript, self._language))
        if assigned.reason is Reason.SHADOW:
            # Half of a pair is for no eyes: both are kept, or neither.
            why = Purpose.SHADOW if chosen else None
        else:
            why = purpose(chosen, bool(found), self._is_rare(assigned.cohort, gathered.begun))
        if why is None:
            return None
        taken: Counter[str] = Counter()
        turns, answer, calls = self._redacted(transcript, taken)
        return Sample(
            request=gathered.request,
            rollout=assigned.rollout,
            generation=assigned.generation,
            phase=assigned.phase,
            cohort=assigned.cohort,
            arm=assigned.arm,
            unit=gathered.unit,
            durable=assigned.durable,
            start=gathered.begun,
            purpose=why,
            ending=transcript.ending.value,
            tripwires=found,
            turns=turns,
            answer=answer,
            calls=calls,
            redacted=dict(taken),
        )

    def _is_rare(self, cohort: str, now: float) -> bool:
        hour = int(now // HOUR)
        if hour > self._hour:
            self._hour, self._copies = hour, Counter()
        self._copies[cohort] += 1
        return len(self._copies) > 1 and self._copies[cohort] <= RARE_BELOW

    def _redacted(
        self, transcript: Transcript, taken: Counter[str]
    ) -> tuple[tuple[tuple[str, str], ...], str, tuple[tuple[str, str], ...]]:
        def clean(text: str) -> str:
            done: Redacted = self._redactor.redact(text)
            taken.update(done.found)
            return done.text

        def arguments(text: str) -> str:
            # Its keys say what a value is, and it stays JSON.
            done = redact_json_text(self._redactor, text)
            taken.update(done.found)
            return done.text

        if transcript.ending is Ending.TRUNCATED:
            # A secret may be cut in two where the copy ends, and is none of the known shapes then: such a text is not kept.
            return (), "", ()
        turns = tuple((turn.role.value, clean(turn.text)) for turn in transcript.turns)
        calls = tuple((clean(call.name), arguments(call.arguments)) for call in transcript.calls)
        return turns, clean(transcript.answer or transcript.refusal), calls
