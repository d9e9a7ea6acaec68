"""What every long-running process of ours needs: to be told to stop, to follow a file, to keep children alive, to speak HTTP.

`child`, `told` and `http` are imported by those who use them: a worker needs no HTTP.
"""

from extproc.runtime.follow import FileState, Followed
from extproc.runtime.signals import RELOAD, end_with_parent, hangup_asks, stop_on_signals

__all__ = ["RELOAD", "FileState", "Followed", "end_with_parent", "hangup_asks", "stop_on_signals"]
