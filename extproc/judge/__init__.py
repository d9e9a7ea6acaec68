"""The LLM judge: an instrument with noise, never on a request's path. Its outage is NO_DATA, not FAIL.

Copies -> `sampling` (`assembly`, `tripwires`, `redact`) -> `pipeline` -> `client`, `panel` -> scores. `rubric`, `prompt` and `verdicts` say
what a judge is asked and what counts as an answer; `calibration`, `drift` and `bias` how far it can be believed.
"""
