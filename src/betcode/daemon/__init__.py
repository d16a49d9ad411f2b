"""The daemon: the composition root. It builds the adapters, gives them to the engine and runs until told to stop."""
