"""Fuzzing of the native transport and of the reading of requests: `python -m tests.fuzz.run`. The same targets run in `make test`."""
