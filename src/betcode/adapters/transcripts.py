"""Claude's own record of a conversation: whether there is one to resume."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def has_transcript(env: Mapping[str, str], claude_session_id: str) -> bool:
    """Whether claude, run with `env`, can resume this conversation.

    claude writes the file some time after it took the first message; killed before that, it knows nothing and must be
    started anew. An empty file cannot be resumed either.
    """
    home = env.get("CLAUDE_CONFIG_DIR") or f"{env.get('HOME', '')}/.claude"
    return any(found.stat().st_size > 0 for found in Path(home, "projects").glob(f"*/{claude_session_id}.jsonl"))
