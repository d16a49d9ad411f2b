"""docs/settings.md: the reference that `config.show` makes."""

from __future__ import annotations

from betcode.config.show import reference
from tools.docs.markdown import mark, page


def render() -> str:
    """The page."""
    return page(mark("src/betcode/config/tree.py"), reference())
