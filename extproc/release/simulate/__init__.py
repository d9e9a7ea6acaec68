"""Releases that never were: how often a harmless canary is rolled back, how soon a harmful one is, by our rules and by others'."""
