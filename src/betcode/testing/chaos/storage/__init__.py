"""Storage: a database of 60,000 rows that the program itself made, damaged in every way that is known of.

`prepare` makes it once a run; each experiment damages a copy, starts a daemon over it, and holds what is there
afterwards against what was there before and against what any of the files that are left still held.
"""

from betcode.testing.chaos.storage.experiments import EXPERIMENTS
from betcode.testing.chaos.storage.image import prepare

__all__ = ["EXPERIMENTS", "prepare"]
