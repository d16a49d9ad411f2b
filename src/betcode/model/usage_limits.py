"""Bounds of what is done about cost."""

COST_LOOK_S = 5.0
"""How often sessions that a cost limit stops look whether it does still. Whoever raised it waits at a terminal; a
look is one comparison for each session."""
