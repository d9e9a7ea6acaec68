"""End users' feedback: an ordered log in a file of its own beside the store, `<store>.feedback`.

`file` writes (the one writer thread of the feedback service), `log` reads (the brain, read-only, in another process).
"""

from extproc.store.feedback.file import FeedbackFile, Keep
from extproc.store.feedback.log import Cause, FeedbackLog, Gap

__all__ = ["Cause", "FeedbackFile", "FeedbackLog", "Gap", "Keep"]
