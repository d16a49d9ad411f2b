"""docs/settings.md: the reference that `config.show` makes."""

from __future__ import annotations

from tools.docs.markdown import mark, page

from betcode.config.show import reference


def render() -> str:
    """The page."""
    return page(mark("src/betcode/config/tree.py"), reference())
