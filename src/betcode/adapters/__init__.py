"""The world: database, keepers, sockets, clocks, logs. Each turns foreign errors into BetcodeError at its edge."""
