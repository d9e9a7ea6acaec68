"""How a Finding is made: most have a few of its many numbers."""

from __future__ import annotations

from extproc.domain import Finding, Reaction, Verdict


def finding(
    gate: str,
    verdict: Verdict,
    sentence: str,
    *,
    estimate: float | None = None,
    interval: tuple[float, float] | None = None,
    margin: float = 0.0,
    samples: tuple[int, int] = (0, 0),
    values: tuple[float | None, float | None] = (None, None),
    harm: float = 0.0,
    safe: float = 0.0,
    limit: float = 0.0,
    both_arms: bool = False,
    cohort: str = "",
    reaction: Reaction = Reaction.ROLL_BACK,
    within: str = "",
) -> Finding:
    """What a gate found. `samples` and `values`: of canary and stable; `harm`, `safe`, `limit`: logarithms of E."""
    return Finding(
        gate=gate,
        verdict=verdict,
        sentence=sentence,
        estimate=estimate,
        interval=interval,
        margin=margin,
        canary_samples=samples[0],
        stable_samples=samples[1],
        canary_value=values[0],
        stable_value=values[1],
        log_e_harm=harm,
        log_e_safe=safe,
        both_arms=both_arms,
        cohort=cohort,
        reaction=reaction,
        log_e_limit=limit,
        within=within,
    )
