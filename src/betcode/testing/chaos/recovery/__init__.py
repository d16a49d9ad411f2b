"""Recovery: every process of a session killed, stopped or replaced at every moment; files damaged; many at once."""

from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.recovery import (
    crash_storm,
    daemons,
    journals,
    keepers,
    phases,
    random_kills,
    reboot,
    silence,
)

EXPERIMENTS: tuple[Experiment, ...] = (
    *phases.EXPERIMENTS,
    *crash_storm.EXPERIMENTS,
    *daemons.EXPERIMENTS,
    *keepers.EXPERIMENTS,
    *journals.EXPERIMENTS,
    *reboot.EXPERIMENTS,
    *silence.EXPERIMENTS,
    *random_kills.EXPERIMENTS,
)
"""In the order of their run."""
