"""Looks at an installation without touching it: nothing here creates, changes, locks or starts anything that stays.

Each function gives facts for `core.diagnosis`, and raises OSError only where it says so.
"""
