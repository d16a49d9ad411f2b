"""Frozen data that every layer shares: identifiers, states, events, errors and limits. No behaviour beyond validation."""
