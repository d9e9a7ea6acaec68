"""End users' feedback: an ordered log in a file of its own beside the store, `<store>.feedback`.

`file` writes (the one writer thread of the feedback service), `log` reads (the brain, read-only, in another process), `people` takes
a person out.
"""

from extproc.store.feedback.file import FeedbackFile, Keep
from extproc.store.feedback.log import Cause, FeedbackLog, Gap
from extproc.store.feedback.people import forget

__all__ = ["Cause", "FeedbackFile", "FeedbackLog", "Gap", "Keep", "forget"]
