"""Bounds of what is done about cost."""

COST_LOOK_S = 30.0
"""How often sessions that a cost limit stops look whether the day, and with it the limit's, is over. Nobody waits
for that at a terminal; changed settings are looked at at once."""
