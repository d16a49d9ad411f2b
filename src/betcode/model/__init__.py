"""Frozen data that every layer shares: identifiers, states, events, errors, limits. No behaviour but validation."""
