"""The nouns of extproc, and its glossary: every other room speaks in these words.

Four documents: **Spec** (what we want; `domain.spec`), **State** (where each rollout stands; `domain.state`), **Snapshot** (what a
request meets; lives in `assign.snapshot`), **Evidence** (what we have seen; lives in `release.evidence`). Here are the first two, the
small nouns that travel with requests (`domain.traffic`), what the brain says (`domain.control`), and the closed lists of words
(`domain.words`). Everything is frozen and slotted; durations are seconds, shares are fractions of 1, instants are Unix seconds, money
is USD as Decimal. This room imports nothing of extproc.
"""

from extproc.domain.control import Action, Decision, Finding, JournalEntry, Verdict
from extproc.domain.spec import (
    Application,
    Ceiling,
    ChangeWindow,
    Cohort,
    Cookie,
    Credential,
    Endpoint,
    Freeze,
    Gate,
    HeaderRule,
    Listener,
    Match,
    MetricGate,
    Model,
    PathRewrite,
    Phase,
    Prices,
    Rollout,
    Sla,
    Source,
    Spec,
    Tls,
    Unit,
)
from extproc.domain.state import Heartbeat, RolloutState, State
from extproc.domain.traffic import Assignment, Outcome, Subject, Undecided
from extproc.domain.words import ApplicationType, Arm, Infrastructure, ListenerKind, Reaction, Reason, SourceKind, StartMode, Status

__all__ = [
    "Action",
    "Application",
    "ApplicationType",
    "Arm",
    "Assignment",
    "Ceiling",
    "ChangeWindow",
    "Cohort",
    "Cookie",
    "Credential",
    "Decision",
    "Endpoint",
    "Finding",
    "Freeze",
    "Gate",
    "HeaderRule",
    "Heartbeat",
    "Infrastructure",
    "JournalEntry",
    "Listener",
    "ListenerKind",
    "Match",
    "MetricGate",
    "Model",
    "Outcome",
    "PathRewrite",
    "Phase",
    "Prices",
    "Reaction",
    "Reason",
    "Rollout",
    "RolloutState",
    "Sla",
    "Source",
    "SourceKind",
    "Spec",
    "StartMode",
    "State",
    "Status",
    "Subject",
    "Tls",
    "Undecided",
    "Unit",
    "Verdict",
]
