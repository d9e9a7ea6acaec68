"""Outcomes that reach a collector which does not lead: kept, numbered, and sent to the one that does.

A unit counts once, so all outcomes of a rollout meet in one Evidence, that of the leader. Messages are sent as they came, in order,
and each is kept until the leader says that what was heard of it is in the store: a new leader is told again what its predecessor may
have taken with it. A message that is told twice to one leader is passed over by its number.
"""

from extproc.controller.relay.intake import Intake
from extproc.controller.relay.outbox import Outbox
from extproc.controller.relay.sender import Sender

__all__ = ["Intake", "Outbox", "Sender"]
