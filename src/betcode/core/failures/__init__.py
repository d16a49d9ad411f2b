"""The table of failures: what each raw error means, and what is done about it (CB-3)."""
