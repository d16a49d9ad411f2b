"""The daemon's log: one JSON object a line (OB-1), bounded in size, without secrets and payloads.

Each line has `timestamp` (ISO 8601, UTC, ms), `level`, `target`, `message`, then the bound fields (`trace_id`,
`session_id`, `machine_id`, ...) and those of the call. Values that look like credentials are replaced, long ones cut.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import re
import time
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import msgspec

from betcode.core.instant import iso
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.wire.visible import visible

LEVELS = ("debug", "info", "warning", "error")
SECRET = re.compile(
    r"sk-[A-Za-z0-9_-]{8,}|Bearer\s+\S+|(?i:(?:api[_-]?key|token|secret|password)[\"'=:\s]+)\S{6,}"
    r"|\bAKIA[A-Z0-9]{12,}|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_.-]+"
)
"""What keys and tokens of the usual services look like."""

_encode = msgspec.json.Encoder(enc_hook=repr).encode


def redact(text: str) -> str:
    """The text without what looks like a credential, cut to `limits.LOG_FIELD_CHARS`."""
    if len(text) > limits.LOG_FIELD_CHARS:
        text = f"{text[: limits.LOG_FIELD_CHARS]}[truncated: original_size={len(text)} characters]"
    return SECRET.sub("[redacted]", text)


class JsonFormatter(logging.Formatter):
    """A record as one JSON line."""

    def format(self, record: logging.LogRecord) -> str:
        """Never raises: what JSON cannot hold is shown by its repr."""
        fields: dict[str, Any] = {
            "timestamp": iso(record.created),
            "level": record.levelname.lower(),
            "target": record.name,
            "message": redact(record.getMessage()),
        }
        for name, value in getattr(record, "fields", {}).items():
            fields[name] = redact(value) if isinstance(value, str) else value
        if record.exc_info:
            fields["error"] = redact(self.formatException(record.exc_info))
        return _encode(fields).decode("utf-8", "replace")


class HumanFormatter(logging.Formatter):
    """A record as a line for a person at a terminal: time, level where it matters, message, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Control characters are made visible; ids that a person seldom needs are left to the file."""
        fields = getattr(record, "fields", {})
        shown = "  ".join(f"{k}={v}" for k, v in fields.items() if k not in ("trace_id", "machine_id"))
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        return visible(redact(f"{iso(record.created)[11:23]}  {level}{record.getMessage()}  {shown}".rstrip()))


class _PrivateFile(logging.handlers.RotatingFileHandler):
    """A rotating file whose every new file only its owner can read."""

    def _open(self) -> TextIOWrapper:
        fd = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        return os.fdopen(fd, "a", encoding=self.encoding)


class JsonLog:
    """One component's log (`engine.ports.Log`)."""

    def __init__(self, logger: logging.Logger, fields: dict[str, Any]) -> None:
        """`fields` are in every line."""
        self._logger = logger
        self._fields = fields

    def bind(self, **fields: Any) -> JsonLog:
        """The same log with these fields in every line."""
        return JsonLog(self._logger, self._fields | fields)

    def _write(self, level: int, message: str, fields: dict[str, Any]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", message, extra={"fields": self._fields | fields})

    def debug(self, message: str, **fields: Any) -> None:
        """Detail for whoever hunts a defect."""
        self._write(logging.DEBUG, message, fields)

    def info(self, message: str, **fields: Any) -> None:
        """A transition."""
        self._write(logging.INFO, message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        """Something was wrong and was dealt with."""
        self._write(logging.WARNING, message, fields)

    def error(self, message: str, **fields: Any) -> None:
        """Something failed."""
        self._write(logging.ERROR, message, fields)


def open_log(path: Path, level: str, *, bytes_max: int, to_terminal: bool) -> JsonLog:
    """Start logging to `path` (0600, two files of at most `bytes_max`); a full disk never stops the daemon.

    Libraries' warnings go to the same file. `to_terminal`: also to standard error. Raises BetcodeError
    `config.unwritable`.
    """
    handlers: list[logging.Handler] = []
    try:
        handlers.append(_PrivateFile(path, maxBytes=bytes_max, backupCount=1, encoding="utf-8"))
    except OSError as error:
        raise BetcodeError(
            "config.unwritable",
            f"the log {str(path)!r} cannot be written: {error.strerror}",
            hint="Let your user write it, or remove what is in its place.",
        ) from error
    if to_terminal:
        terminal = logging.StreamHandler()
        terminal.setFormatter(HumanFormatter() if terminal.stream.isatty() else JsonFormatter())
        handlers.append(terminal)
    logging.raiseExceptions = False  # an unwritable log file must not fill standard error with tracebacks
    logging.Formatter.converter = time.gmtime
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    handlers[0].setFormatter(JsonFormatter())
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logger = logging.getLogger("betcode")
    set_level(level)
    return JsonLog(logger, {})


def set_level(level: str) -> None:
    """Change the level of what BetCode itself logs: one of `LEVELS`."""
    logging.getLogger("betcode").setLevel(level.upper())
