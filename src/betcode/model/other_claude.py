"""A running claude that BetCode did not start."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OtherClaude:
    """As it described itself in its state file; the texts are its own and may be empty.

    Attributes:
        pid: of a process that runs.
        directory: where it works.
        entrypoint: how it was started: `cli` at a terminal, `sdk-cli` for `claude -p`, `sdk-py` and the like.
        version: of claude.
        started_unix_s: when it was started; 0.0 when it did not say.
    """

    pid: int
    directory: str = ""
    entrypoint: str = ""
    version: str = ""
    started_unix_s: float = 0.0
