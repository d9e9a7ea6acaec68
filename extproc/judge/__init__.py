"""The LLM judge: what is asked of it, and what may be shown to it. Pure code: no clock, no chance, no I/O."""
