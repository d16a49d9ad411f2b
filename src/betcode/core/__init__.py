"""Pure decisions: explicit time, explicit randomness, effects as values. Nothing here waits, reads or writes."""
