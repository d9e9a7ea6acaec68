"""What the next phase still needs, in sentences: dwell, minimums, evidence."""

from __future__ import annotations

from collections.abc import Sequence

from extproc.domain import Finding, Phase, Verdict
from extproc.measures import MEASURES
from extproc.release import sentences
from extproc.release.evidence import Evidence
from extproc.release.gate import CALM, SAFE_LIMIT, TOGETHER
from extproc.release.guards import CANARY
from extproc.release.sentences import e_value


def waiting_for(phase: Phase, findings: Sequence[Finding], evidence: Evidence) -> tuple[str, ...]:
    """What is still missing for the next phase, one sentence each; empty where nothing is."""
    wishes = (f"{wish}{evidence.rated.silence(finding.gate)}" for finding in findings if (wish := _wish(finding)))
    return (*unmet(phase, evidence), *wishes)


def unmet(phase: Phase, evidence: Evidence) -> tuple[str, ...]:
    """Dwell and minimums that are not met."""
    missing: list[str] = []
    if evidence.watched < phase.min_dwell:
        missing.append(f"{sentences.duration(phase.min_dwell - evidence.watched)} more of watched time")
    units = len(evidence.canary_units)
    if units < phase.min_units:
        missing.append(f"{phase.min_units - units} more distinct canary units")
    requests = evidence.arms[CANARY].requests
    if requests < phase.min_requests:
        missing.append(f"{phase.min_requests - requests} more canary requests")
    return tuple(missing)


def has_no_source(finding: Finding) -> bool:
    """True for a gate that guards against harm alone, of which neither arm has told anything: this Envoy does not measure it (the core
    profile has no time to first token), and a release that waited for it would wait for ever. Where one arm has, it is waited for."""
    guards_only = finding.gate in MEASURES and not finding.within
    return guards_only and finding.verdict is Verdict.NO_DATA and not finding.canary_samples and not finding.stable_samples


def _wish(finding: Finding) -> str:
    if finding.verdict is Verdict.NO_DATA:
        return "" if has_no_source(finding) else f"data for {finding.gate}"
    if finding.verdict is not Verdict.INCONCLUSIVE:
        return ""
    if finding.gate == TOGETHER:
        return f"calm (harm E {e_value(finding.log_e_harm)} of all comparisons together, below {e_value(CALM)} is needed)"
    return f"evidence that {finding.gate} stays within {finding.within} (safety E {e_value(finding.log_e_safe)} of {e_value(SAFE_LIMIT)})"
