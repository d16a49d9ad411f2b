"""Limits: pool and queue full, people waited for, many sessions on few slots; and sessions that use too much."""

from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.limits.crowd import CROWD
from betcode.testing.chaos.limits.hogs import HOGS
from betcode.testing.chaos.limits.pool import POOL

EXPERIMENTS: tuple[Experiment, ...] = (*POOL, *CROWD, *HOGS)
"""In the order of their run."""
