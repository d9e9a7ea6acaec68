"""Redaction: personal data and secrets are taken out of sampled texts before anything is stored, logged, shown or judged.

    text -> view -> finds -> markers

* `view`: the text as a reader understands it (escapes, entities, full-width digits, bold), with the way back to the original.
* `emails`, `cards`, `identities`, `phones`, `addresses`, `keys`, `named`: finders, each a function of the view; `custom`: the operator's.
* `redactor`: runs them, merges what overlaps, writes markers; `values`: the same for JSON values.

docs/redaction.md says what is found, what is not, and how well.
"""

from extproc.judge.redact.custom import problems_of
from extproc.judge.redact.finds import Kind
from extproc.judge.redact.redactor import REGIONS, Redacted, Redactor
from extproc.judge.redact.values import redact_json, redact_json_text

__all__ = ["REGIONS", "Kind", "Redacted", "Redactor", "problems_of", "redact_json", "redact_json_text"]
