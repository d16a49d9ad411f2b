"""What a keeper is told at its start: one JSON object on stdin, checked here and nowhere else."""

from __future__ import annotations

from betcode.keeper.bare import parse_json
from betcode.keeper.errors import KeeperError
from betcode.keeper.limits import (
    FILES_MAX,
    LINE_OUT_BYTES_MAX,
    MEMORY_BYTES_MAX,
    SEGMENT_BYTES,
    SILENCE_S_MAX,
    STRETCH_BYTES_MAX,
)


class BadSpec(KeeperError):
    """The daemon sent something that no keeper can start with."""

    def __init__(self, message: str) -> None:
        super().__init__(
            "bad_spec", message, hint="This is a mistake in the daemon that started the keeper: report it."
        )


class Spec:
    """One run of one session.

    `mark` is put into the environment of everything claude starts, so that its processes can be found again;
    `generation` is that of the daemon that starts the keeper; `scope` tells that it is in a scope of systemd of its
    own; the names with a unit or `max` are bounds, as in limits.
    """

    def __init__(self, fields: dict[str, object]) -> None:
        """Raises BadSpec."""
        self.session_dir = _absolute(fields, "session_dir")
        self.socket = _absolute(fields, "socket")
        self.cwd = _absolute(fields, "cwd")
        self.run = _whole(fields, "run")
        self.generation = _whole(fields, "generation")
        self.mark = _mark(fields)
        self.argv = _argv(fields)
        self.env = _env(fields)
        self.silence_s_max = _positive(fields, "silence_s_max", SILENCE_S_MAX)
        self.segment_bytes = int(_positive(fields, "segment_bytes", SEGMENT_BYTES))
        self.line_out_bytes_max = _positive(fields, "line_out_bytes_max", LINE_OUT_BYTES_MAX)
        self.stretch_bytes_max = _positive(fields, "stretch_bytes_max", STRETCH_BYTES_MAX)
        self.memory_bytes_max = _positive(fields, "memory_bytes_max", MEMORY_BYTES_MAX)
        self.files_max = _positive(fields, "files_max", FILES_MAX)
        self.scope = fields.get("scope") is True

    @property
    def lock_path(self) -> str:
        """The session's lock, the same for all its runs."""
        return f"{self.session_dir}/lock"

    def path(self, name: str) -> str:
        """Path of this run's file with that ending, such as `run` or `exit`."""
        return f"{self.session_dir}/{self.run}.{name}"


def parse_spec(raw: bytes) -> Spec:
    """Raises BadSpec."""
    try:
        fields = parse_json(raw)
    except ValueError as error:
        raise BadSpec(f"the spec is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadSpec("the spec is not a JSON object")
    return Spec(fields)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise BadSpec(f"{name} must be a text that is not empty and has no NUL")
    return value


def _absolute(fields: dict[str, object], name: str) -> str:
    path = _text(fields.get(name), name)
    if not path.startswith("/"):
        raise BadSpec(f"{name} must be an absolute path, since the keeper leaves its folder; got {path!r}")
    return path


def _whole(fields: dict[str, object], name: str) -> int:
    value = fields.get(name)
    if type(value) is not int or value < 0:
        raise BadSpec(f"{name} must be a whole number that is not negative")
    return value


def _positive(fields: dict[str, object], name: str, default: float) -> float:
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise BadSpec(f"{name} must be a number above 0")
    return value


def _mark(fields: dict[str, object]) -> str:
    mark = _text(fields.get("mark"), "mark")
    if not mark.isprintable() or not mark.isascii():
        raise BadSpec("mark must be printable ASCII")
    return mark


def _argv(fields: dict[str, object]) -> list[str]:
    argv = fields.get("argv")
    if not isinstance(argv, list) or not argv:
        raise BadSpec("argv must be a list with at least the program")
    return [_argument(item, number) for number, item in enumerate(argv)]


def _argument(item: object, number: int) -> str:
    if not isinstance(item, str) or "\0" in item or (number == 0 and not item):
        raise BadSpec(f"argv[{number}] must be a text without NUL")
    return item


def _env(fields: dict[str, object]) -> dict[str, str]:
    env = fields.get("env")
    if not isinstance(env, dict):
        raise BadSpec("env must be an object of texts")
    for name, value in env.items():
        if not name or "=" in name or "\0" in name or not isinstance(value, str) or "\0" in value:
            raise BadSpec(f"env has an entry that no process can have: {name!r}")
    return env
