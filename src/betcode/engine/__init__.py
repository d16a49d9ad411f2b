"""Does what `core` decides: runs sessions, fans events out, serves clients, through the Protocols in `ports`."""
