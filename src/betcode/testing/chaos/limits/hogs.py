"""Sessions that use too much."""

from betcode.testing.chaos.experiment import Experiment

HOGS: tuple[Experiment, ...] = ()
