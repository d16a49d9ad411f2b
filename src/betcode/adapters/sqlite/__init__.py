"""The database: one writer thread with group commit, readers beside it, and the production SQL as plain functions."""
