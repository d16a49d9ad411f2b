"""The command line: one file for each group of verbs. Nothing is imported here; verbs import what they need."""
