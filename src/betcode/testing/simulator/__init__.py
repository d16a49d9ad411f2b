"""Runs the engine in virtual time against a model of its whole world, with faults drawn from a seed."""
