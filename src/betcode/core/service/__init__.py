"""The daemon as a service of the user's system: what systemd and launchd are told (pure)."""
