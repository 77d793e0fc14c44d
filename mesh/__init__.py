"""What every service stands on: TLS, servers, channels, access rules, storage; knows no business word."""

import os

# Before gRPC's core is loaded, which reads it then. What the core says goes to standard error as it is, among lines of
# JSON; some is called an error and is none, such as a backend that tells no health. What matters, calls end with.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
