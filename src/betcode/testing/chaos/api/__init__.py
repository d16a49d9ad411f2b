"""An API that limits, is overloaded, refuses credentials, is away, is silent, or breaks off in the middle."""

from betcode.testing.chaos.api import accounts, outages, rate_limits, windows
from betcode.testing.chaos.experiment import Experiment

EXPERIMENTS: tuple[Experiment, ...] = (
    *rate_limits.EXPERIMENTS,
    *windows.EXPERIMENTS,
    *outages.EXPERIMENTS,
    *accounts.EXPERIMENTS,
)
"""In the order of their run."""
