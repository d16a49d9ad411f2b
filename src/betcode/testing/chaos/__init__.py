"""Chaos: real faults in a whole BetCode with the real `claude`, what must come of it, and what came: docs/chaos.md."""
