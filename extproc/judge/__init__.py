"""The LLM judge: an instrument with noise, never on a request's path. Its outage is NO_DATA, not FAIL."""
