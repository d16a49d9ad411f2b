"""Cutting a stream into lines."""

import pytest

from betcode.wire.lines import Line, LineSplitter


@pytest.mark.req("ND-1")
def test_lines_carry_their_place_in_the_journal() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b'{"a":1}\n\n  \nha') == [
        Line(0, 8, b'{"a":1}'),
        Line(8, 9, b""),
        Line(9, 12, b"  "),
    ]
    assert splitter.position == 12
    assert splitter.tail == 2
    assert splitter.feed(b"lf\r\n") == [Line(12, 18, b"half\r")]
    assert splitter.position == 18
    assert splitter.tail == 0


@pytest.mark.req("ND-1")
def test_reading_goes_on_from_a_stored_offset() -> None:
    stream = b"first\nsecond\nthird\n"
    assert LineSplitter(start_offset=6).feed(stream[6:]) == LineSplitter().feed(stream)[1:]


@pytest.mark.req("ND-3")
def test_a_half_line_is_given_out_only_at_the_end_of_the_stream() -> None:
    splitter = LineSplitter(start_offset=100)
    assert splitter.feed(b"one\ntw") == [Line(100, 104, b"one")]
    assert splitter.feed(b"") == []
    assert splitter.take_tail() == Line(104, 106, b"tw")
    assert splitter.take_tail() is None
    assert splitter.position == 106
    assert splitter.feed(b"x\n") == [Line(106, 108, b"x")]


@pytest.mark.req("ND-7")
@pytest.mark.parametrize("pieces", [1, 3, 1000])
def test_an_oversize_line_keeps_its_beginning_and_its_size(pieces: int) -> None:
    stream = b"ok\n" + b"abcdefgh" * 4 + b"\nok\n"
    splitter = LineSplitter(line_bytes_max=10)
    lines = [line for i in range(0, len(stream), pieces) for line in splitter.feed(stream[i : i + pieces])]
    assert lines == [Line(0, 3, b"ok"), Line(3, 36, b"abcdefghab", 32), Line(36, 39, b"ok")]


@pytest.mark.req("ND-7")
def test_a_line_of_exactly_the_limit_is_whole() -> None:
    splitter = LineSplitter(line_bytes_max=4)
    assert splitter.feed(b"1234\n12345\n") == [Line(0, 5, b"1234"), Line(5, 11, b"1234", 5)]
    splitter.feed(b"1234")
    assert splitter.take_tail() == Line(11, 15, b"1234")


@pytest.mark.req("ND-7")
def test_a_line_without_end_takes_no_more_memory_than_the_limit() -> None:
    splitter = LineSplitter(line_bytes_max=1000)
    for _ in range(200):
        assert splitter.feed(b"x" * 10_000) == []
    assert len(splitter._kept) == 1000  # the promise is about what is held
    assert splitter.tail == 2_000_000
    line = splitter.take_tail()
    assert line == Line(0, 2_000_000, b"x" * 1000, 2_000_000)


@pytest.mark.parametrize("arguments", [(-1, 10), (0, 0)])
def test_impossible_arguments_are_a_bug_of_the_caller(arguments: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        LineSplitter(*arguments)
