"""The brain: collect outcomes, evaluate gates each second, decide, write State. The only writer of State and Journal."""

import os

# The controller's child is another program: gRPC need not prepare for copies of this one. While messages arrive it would say at each start
# of the child that it does not, as a bare line beside our JSON, whatever GRPC_VERBOSITY is. It is read when gRPC is loaded, so it is set
# before.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
