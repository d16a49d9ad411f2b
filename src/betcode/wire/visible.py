r"""Text from the model, a tool or claude made safe to show (SE-4).

Characters that steer a terminal, turn the direction of text, or cannot be seen are shown as what they are: `\x1b`,
`\u202e`, `\U000e0041`. Emoji joined by U+200D fall apart for that: simple and safe wins. Only for showing: what is
stored, and what is sent to claude, stays as it was.
"""

from __future__ import annotations

import re
from typing import Final

_HIDDEN: Final = (
    "\x00-\x08\x0b-\x1f"  # C0 controls but tab and newline; ESC among them
    "\x7f-\x9f"  # DEL and the C1 controls, which some terminals obey
    "\u00ad\u034f\u061c"  # soft hyphen, grapheme joiner, Arabic letter mark
    "\u115f\u1160\u3164\uffa0"  # Hangul fillers: letters without a glyph
    "\u17b4\u17b5\u180b-\u180f"  # Khmer inherent vowels, Mongolian selectors and separator
    "\u200b-\u200f"  # zero width, direction marks
    "\u2028-\u202e"  # line and paragraph separators, embeddings and overrides of direction
    "\u2060-\u206f"  # word joiner, invisible operators, isolates of direction
    "\ud800-\udfff"  # halves of surrogate pairs, which cannot be encoded
    "\ufeff\ufff0-\ufffb"  # byte order mark, interlinear annotation
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # marks of hieroglyphs, shorthand and music
    "\U000e0000-\U000e0fff"  # tags and further variation selectors: text that only a model reads
)
_WITHOUT_NEWLINE: Final = re.compile(f"[{_HIDDEN}]")
_WITH_NEWLINE: Final = re.compile(f"[\n{_HIDDEN}]")


def visible(text: str, *, keep_newlines: bool = True) -> str:
    r"""`text` with every hidden or steering character written out.

    Tabs stay, and newlines unless `keep_newlines` is false: then they become `\x0a`, for text that must be one line.
    """
    return (_WITHOUT_NEWLINE if keep_newlines else _WITH_NEWLINE).sub(_written_out, text)


def _written_out(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
