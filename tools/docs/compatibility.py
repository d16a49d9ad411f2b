"""docs/compatibility.md, from what `make compat` has stored."""

from __future__ import annotations

from pathlib import Path

from betcode.testing.compat import recordings, table


def render() -> str:
    """The page."""
    return table.render(recordings.Kept(Path(__file__).resolve().parents[2]).results())
