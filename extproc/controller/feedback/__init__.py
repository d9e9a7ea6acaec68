"""The feedback service: what end users say of answers, from HTTP to an ordered log on disk. A process of its own.

Pure: `reading` (a body), `keys` (who may name requests), `origins` (which pages may post), `limits` (how much). The rest does: `app`
(HTTP), `committer` (many posts, one commit), `patience` (who is slow), `process`. Tokens are `extproc.assign.answered`, because routers
make them; the log is `extproc.store.feedback`.
"""

from extproc.controller.feedback.settings import FeedbackSettings

__all__ = ["FeedbackSettings"]
