"""Limits: sessions that use up what there is, beside others that must not notice."""

from betcode.testing.chaos.limits.hogs import HOGS

EXPERIMENTS = HOGS
