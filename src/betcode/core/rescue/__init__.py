"""Decisions of a rescue: what is damaged, which version of a row wins, what is told."""
