"""BetCode: a self-hosted, fault-tolerant multiplexer for the Claude Code CLI."""

__version__ = "0.1.0"
