"""The LLM judge: an instrument with noise, never on a request's path. Its outage is NO_DATA, not FAIL.

    copies -> sampling (assembly, tripwires, redact) -> pipeline -> client, panel -> scores
    rubric, prompt, verdicts: what a judge is asked, and what counts as an answer; calibration, drift, bias: how far it can be believed
"""
