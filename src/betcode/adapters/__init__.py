"""The world: database, keepers, sockets, clocks, logs. Each adapter turns foreign errors into BetcodeError at its edge."""
