"""Making hidden characters visible."""

import sys
import unicodedata

import pytest

from betcode.wire.visible import visible

SHOWN_FORMAT = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
"""Format characters that have a glyph of their own: Arabic and Kaithi number signs."""


@pytest.mark.req("SE-4")
@pytest.mark.parametrize(
    "text, shown",
    [
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb\x08\x7f\x00", "a\\x0db\\x08\\x7f\\x00"),
        ("rm \u202etxt.exe\u2069", "rm \\u202etxt.exe\\u2069"),
        ("pay\u200bpal\ufeff\u00ad", "pay\\u200bpal\\ufeff\\xad"),
        ("\U000e0041\U000e007f", "\\U000e0041\\U000e007f"),
        ("one\u2028two\u2029", "one\\u2028two\\u2029"),
        ("half \ud83d of it", "half \\ud83d of it"),
        ("👩\u200d👧", "👩\\u200d👧"),
    ],
)
def test_hidden_characters_are_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.req("SE-4")
@pytest.mark.parametrize("text", ["", "plain\n\ttext\n", "Grüße, 漢字, עברית, عربي", "♥\ufe0f 👍🏽", "C:\\x1b is text"])
def test_ordinary_text_stays(text: str) -> None:
    assert visible(text) == text


@pytest.mark.req("SE-4")
def test_text_for_one_line_has_no_newline() -> None:
    assert visible("a\nb\tc", keep_newlines=False) == "a\\x0ab\tc"


@pytest.mark.req("SE-4")
def test_no_control_format_separator_or_surrogate_character_stays() -> None:
    wanted = {
        code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    } - {0x09, 0x0A, *SHOWN_FORMAT}
    left = [hex(code) for code in wanted if visible(chr(code)) == chr(code)]
    assert not left
