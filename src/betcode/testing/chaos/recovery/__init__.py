"""Recovery: every process of a session killed, stopped or replaced at every moment; files damaged; many at once."""

from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.recovery import phases

EXPERIMENTS: tuple[Experiment, ...] = (*phases.EXPERIMENTS,)
