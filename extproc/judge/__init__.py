"""Judging answers: what was asked and answered (`assembly`), and what rules find in it (`tripwires`).

Everything here is pure: bytes in, nouns out. `tripwires` needs the extra `judge` (jsonschema, py3langid); `assembly` does not.
"""
