"""Hypothesis as CI runs it, wherever the suite runs: the same examples each time, and no bound on how long one takes."""

from __future__ import annotations

from hypothesis import settings

settings.load_profile("ci")
