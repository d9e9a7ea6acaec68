"""The brain: collect outcomes, evaluate gates each second, decide, write State. The only writer of State and Journal."""

import os

# The controller's child is another program, gRPC need not prepare for a copy of this one. It would stop its threads at each start of the
# child; or, where one of them is at work, say that it does not, in a bare line beside our JSON (seen with grpcio 1.85 where nobody had set
# GRPC_VERBOSITY before it was loaded). This is read when gRPC is loaded, too.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
