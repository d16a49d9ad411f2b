"""What the doctor concludes from facts: pure functions from what was found to findings, each with what mends it."""
