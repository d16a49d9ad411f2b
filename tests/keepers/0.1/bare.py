"""The C modules beneath `json`, `signal`, `socket`, `ctypes`, taken directly because of what those cost.

A keeper is started for every session run, and a turn waits for it. Measured on CPython 3.11 (bare
interpreter 11 ms): json +10 ms (it compiles regular expressions), socket +12 ms and signal +6 ms (they build
enums), subprocess +18 ms, ctypes +4 ms; the C modules beneath them together about 2 ms. Where one of them is
missing or behaves differently, the public module is used instead: slower, with the same result.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as signals
    import socket as sockets
    from collections.abc import Callable

    Encoder = Callable[[object], str]
    Decoder = Callable[[str], object]
else:
    try:
        import _signal as signals
    except ImportError:
        import signal as signals
    try:
        import _socket as sockets
    except ImportError:
        import socket as sockets

__all__ = ["accept", "dump_json", "parse_json", "prctl", "signals", "sockets", "suppress"]


class suppress:
    """`contextlib.suppress`, without the 4 ms that contextlib costs. Each use says in a comment why it is right."""

    def __init__(self, *errors: type[BaseException]) -> None:
        self._errors = errors

    def __enter__(self) -> None:
        """Nothing to begin."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        """True, which swallows the error, if it is one of those named."""
        return kind is not None and issubclass(kind, self._errors)


def accept(listener: sockets.socket) -> sockets.socket:
    """Next waiting connection, nonblocking. Raises OSError as `accept(2)` does."""
    fd, _ = listener._accept()  # type: ignore[attr-defined]  # public `accept` exists only on the slow class
    connection = sockets.socket(listener.family, listener.type, 0, fd)
    connection.setblocking(False)
    return connection


class _Scan:
    """What `_json.make_scanner` asks its context for."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012 - the C code wants the attribute and clears it itself


def _not_json(value: object) -> object:
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _public_json() -> tuple[Decoder, Encoder]:
    import json  # noqa: PLC0415 - 10 ms, paid only by an interpreter without the C module

    return json.loads, json.JSONEncoder(separators=(",", ":")).encode


def _fast_json() -> tuple[Decoder, Encoder]:
    import _json  # noqa: PLC0415 - belongs to this attempt alone

    scan = _json.make_scanner(_Scan)  # type: ignore[arg-type]
    encode = _json.make_encoder(None, _not_json, _json.encode_basestring_ascii, None, ":", ",", False, False, False)

    def decode(text: str) -> object:
        start = len(text) - len(text.lstrip())
        try:
            value, end = scan(text, start)
        except (StopIteration, SystemError):
            # CPython 3.11 returns "no result and no error" here unless json.decoder happens to be loaded
            raise ValueError("this is not JSON") from None
        if text[end:].strip():
            raise ValueError(f"text after the JSON value, at character {end}")
        return value

    return decode, lambda value: "".join(encode(value, 0))


def _pick_json() -> tuple[Decoder, Encoder]:
    """The fast pair if it gives the right answer here and now, else the public one."""
    probe = {"a": [1, "\u00e9", None, True, 1.5]}
    text = '{"a":[1,"\\u00e9",null,true,1.5]}'
    try:
        decode, encode = _fast_json()
        if encode(probe) == text and decode(text) == probe:
            return decode, encode
    except (ImportError, AttributeError, TypeError, ValueError):
        pass  # another interpreter, or a later one: the public module knows
    return _public_json()


_decode, _encode = _pick_json()


def parse_json(raw: bytes) -> object:
    """The value in `raw` (UTF-8). Raises ValueError, and nothing else, on anything that is not one JSON value."""
    try:
        return _decode(raw.decode())
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def dump_json(value: object) -> bytes:
    """`value` on one line, ASCII only. Raises TypeError or ValueError if it has no JSON form."""
    return _encode(value).encode()


def _find_prctl() -> Callable[[int, int], bool]:
    if sys.platform != "linux":
        return lambda option, argument: False
    try:
        import _ctypes  # noqa: PLC0415 - Linux only, and absent from some builds

        address = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # type: ignore[arg-type]  # None: this program itself
        call = _ctypes.call_function
        return lambda option, argument: bool(call(address, (option, argument, 0, 0, 0)) == 0)
    except (ImportError, AttributeError, OSError):
        return _public_prctl()


def _public_prctl() -> Callable[[int, int], bool]:
    try:
        import ctypes  # noqa: PLC0415 - 4 ms, only where the C module beneath it is not as expected

        function = ctypes.CDLL(None).prctl
        return lambda option, argument: bool(function(option, argument, 0, 0, 0) == 0)
    except (ImportError, AttributeError, OSError):
        return lambda option, argument: False


prctl = _find_prctl()
"""prctl(option, argument): True if the kernel did it, False if it refused or there is no prctl here."""
