"""Frames survive any chunking; what is not this protocol ends in ProtocolError and nothing else."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betcode.keeper import bare
from betcode.keeper.limits import OUT_FRAME_BYTES_MAX
from betcode.keeper.protocol import (
    HEAD,
    VERSION_MAX,
    VERSION_MIN,
    FrameReader,
    Kind,
    ProtocolError,
    agreed,
    attach_frame,
    end_frame,
    frame,
    json_payload,
    out_frame,
    out_payload,
    stdin_frame,
    stdin_payload,
)

FRAMES = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=30)), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


@pytest.mark.req("INV-2")
@given(FRAMES, st.lists(st.integers(1, 7), min_size=1))
def test_chunking_never_changes_what_is_decoded(frames: list[tuple[int, bytes]], sizes: list[int]) -> None:
    stream = b"".join(frame(kind, payload) for kind, payload in frames)
    reader, decoded, at, number = FrameReader(), [], 0, 0
    while at < len(stream):
        size = sizes[number % len(sizes)]
        decoded += reader.feed(stream[at : at + size])
        at, number = at + size, number + 1
    assert decoded == frames


@pytest.mark.req("INV-8")
@given(st.lists(st.binary(max_size=50), max_size=10))
def test_garbage_raises_protocol_error_and_nothing_else(chunks: list[bytes]) -> None:
    reader = FrameReader(100)
    with contextlib.suppress(ProtocolError):
        for chunk in chunks:
            for kind, payload in reader.feed(chunk):
                assert 0 <= kind <= 255
                assert len(payload) <= 100
                for decode in (json_payload, out_payload, stdin_payload):
                    with contextlib.suppress(ProtocolError):
                        decode(payload)


@pytest.mark.req("INV-8")
def test_a_frame_over_the_limit_is_refused_before_its_payload_arrives() -> None:
    reader = FrameReader(10)
    with pytest.raises(ProtocolError):
        reader.feed(HEAD.pack(11, Kind.STDIN))
    assert FrameReader(10).feed(HEAD.pack(10, Kind.STDIN)) == []


@pytest.mark.req("INV-8", "PS-6")
def test_what_came_before_a_long_frame_is_returned_first_and_may_raise_the_limit() -> None:
    reader = FrameReader(10)
    assert reader.feed(frame(Kind.ATTACH, b"me") + frame(Kind.STDIN, b"x" * 50)) == [(Kind.ATTACH, b"me")]
    reader.payload_bytes_max = 100
    assert reader.feed(b"") == [(Kind.STDIN, b"x" * 50)]
    assert reader.feed(frame(Kind.PING) + frame(Kind.STDIN, b"x" * 101)) == [(Kind.PING, b"")]
    with pytest.raises(ProtocolError):
        reader.feed(b"")


@pytest.mark.req("PS-6")
def test_a_kind_that_nobody_knows_comes_out_as_a_number() -> None:
    assert FrameReader().feed(frame(250, b"new")) == [(250, b"new")]


@pytest.mark.req("INV-2")
@given(st.integers(0, 2**64 - 1), st.binary(max_size=50))
def test_stdout_comes_back_with_its_offset(offset: int, stdout: bytes) -> None:
    ((kind, payload),) = FrameReader().feed(out_frame(offset, stdout))
    assert (kind, out_payload(payload)) == (Kind.OUT, (offset, stdout))


@pytest.mark.req("INV-8")
def test_an_out_frame_is_bounded() -> None:
    assert out_frame(0, bytes(OUT_FRAME_BYTES_MAX))
    with pytest.raises(ValueError, match="at most"):
        out_frame(0, bytes(OUT_FRAME_BYTES_MAX + 1))


@pytest.mark.req("INV-1")
@given(st.text(min_size=1, max_size=40), st.binary(max_size=50))
def test_a_line_comes_back_with_its_id_and_a_newline(line_id: str, line: bytes) -> None:
    ((kind, payload),) = FrameReader().feed(stdin_frame(line_id, line))
    assert (kind, stdin_payload(payload)) == (Kind.STDIN, (line_id, line + b"\n"))


@pytest.mark.req("INV-1")
@pytest.mark.parametrize("line_id", ["", "i" * 201])
def test_an_id_has_1_to_200_bytes(line_id: str) -> None:
    with pytest.raises(ValueError, match="id"):
        stdin_frame(line_id, b"x")


@pytest.mark.req("PS-6")
def test_json_frames_have_the_documented_fields() -> None:
    ((kind, payload),) = FrameReader().feed(attach_frame(generation=3, from_offset=9))
    assert (kind, json.loads(payload)) == (Kind.ATTACH, {"protocol": 1, "generation": 3, "from": 9})
    ((kind, payload),) = FrameReader().feed(end_frame("term", grace_s=1.5))
    assert (kind, json.loads(payload)) == (Kind.END, {"how": "term", "grace_s": 1.5})


@pytest.mark.req("PS-6")
@given(JSON)
def test_the_quick_json_says_what_the_public_one_says(value: object) -> None:
    encoded = bare.dump_json(value)
    assert encoded == json.dumps(value, separators=(",", ":")).encode()
    assert bare.parse_json(encoded) == bare.parse_json(b" " + encoded + b"\n") == json.loads(encoded)


@pytest.mark.req("INV-8")
@pytest.mark.parametrize(
    "raw", [b"", b" ", b"{", b"[1", b"1 2", b"\xff", b'{"a":}', b"nothing", b"[" * 200_000, b'"\n"']
)
def test_what_is_not_json_raises_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        bare.parse_json(raw)


@pytest.mark.req("PS-6")
def test_an_interpreter_without_the_c_module_uses_the_public_json(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> object:
        raise ImportError

    monkeypatch.setattr(bare, "_fast_json", absent)
    decode, encode = bare._pick_json()
    assert decode == json.loads
    assert encode({"a": [1, None]}) == '{"a":[1,null]}'


@pytest.mark.req("PS-6")
@pytest.mark.parametrize(
    "spoken, version",
    [
        ([VERSION_MIN, VERSION_MAX], VERSION_MAX),
        ([VERSION_MIN, VERSION_MAX + 5], VERSION_MAX),  # a newer keeper that still knows ours
        ([0, VERSION_MIN], VERSION_MIN),  # an older one
        ([VERSION_MAX + 1, VERSION_MAX + 2], None),
        ([0, VERSION_MIN - 1], None),
        ([VERSION_MIN], None),
        (["1", "1"], None),
        ([True, True], None),
        (None, None),
    ],
)
def test_both_sides_speak_the_highest_version_that_both_know(spoken: object, version: int | None) -> None:
    assert agreed(spoken) == version
