"""Chaos: real faults in a whole BetCode with the real `claude`, what must come of each, and what came; see docs/chaos.md."""
