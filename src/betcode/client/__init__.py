"""The way to the daemon for everything that shows or drives sessions: one connection, and one that comes back."""
