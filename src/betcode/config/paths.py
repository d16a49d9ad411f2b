"""Where BetCode keeps its files, and whether other users can reach them (CF-2, SE-1).

Each directory comes from the option, else the variable, else the platform:
  config   settings.json                                   ~/.config/betcode
  data     database, sessions, intake log, lock, log       ~/.local/state/betcode
  runtime  the daemon's socket                             $XDG_RUNTIME_DIR/betcode, /run/user/<uid>/betcode
(macOS: ~/Library/Application Support/betcode, and its folder `data`.) Without a runtime directory, and where the path
of the socket would be too long for the system, the socket lies in a directory of the user under /tmp. Client and daemon
must come to the same place by themselves, so that place depends on nothing but the user and the directories above.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from betcode.model import limits
from betcode.model.errors import BetcodeError

CONFIG_VARIABLE = "BETCODE_CONFIG_DIR"
DATA_VARIABLE = "BETCODE_DATA_DIR"
RUNTIME_VARIABLE = "BETCODE_RUNTIME_DIR"
DIRECTORY_VARIABLES = (CONFIG_VARIABLE, DATA_VARIABLE, RUNTIME_VARIABLE)

APP = "betcode"
TEMPORARY = Path("/tmp")  # noqa: S108  what is below it is checked; TMPDIR may differ between client and daemon
USER_RUNTIME = Path("/run/user")
"""Where systemd keeps runtime directories: known even to a shell without XDG_RUNTIME_DIR (su, cron)."""
OTHERS = stat.S_IRWXG | stat.S_IRWXO
DIRECTORY_MODE = 0o700


@dataclass(frozen=True, slots=True)
class Paths:
    """The three directories and the files in them. Nothing here needs to exist yet."""

    config: Path
    data: Path
    runtime: Path

    @property
    def settings(self) -> Path:
        """The user's own settings."""
        return self.config / "settings.json"

    @property
    def database(self) -> Path:
        """The SQLite database."""
        return self.data / "daemon.db"

    @property
    def sessions(self) -> Path:
        """One directory per session: journals, marks, locks, keeper sockets."""
        return self.data / "sessions"

    @property
    def intake(self) -> Path:
        """Segments of the intake log."""
        return self.data / "intake"

    @property
    def lock(self) -> Path:
        """Held by the one daemon of this data directory."""
        return self.data / "daemon.lock"

    @property
    def log(self) -> Path:
        """The daemon's log."""
        return self.data / "daemon.log"

    @property
    def stderr(self) -> Path:
        """What a daemon in the background writes to standard error: plain words, which the log must not hold."""
        return self.data / "daemon.stderr"

    @property
    def socket(self) -> Path:
        """Where the daemon listens; at most `limits.SOCKET_PATH_BYTES_MAX` bytes when made by `find_paths`."""
        return self.runtime / "daemon.sock"


def find_paths(flags: Mapping[str, str | None], env: Mapping[str, str]) -> Paths:
    """Decide the directories; creates and checks nothing.

    A data directory of one's own gets a runtime directory of its own, so that two daemons never meet at one socket.

    Args:
        flags: `config_dir`, `data_dir`, `runtime_dir`; what is missing, None or empty was not given.
        env: variables of this process. The platform's defaults are platformdirs', which reads the process's own.

    Raises:
        BetcodeError: config.invalid for a path that no file can have.
    """
    config = _given(flags, env, "config_dir", CONFIG_VARIABLE)
    data = _given(flags, env, "data_dir", DATA_VARIABLE)
    runtime = _given(flags, env, "runtime_dir", RUNTIME_VARIABLE)
    if not (config and data and runtime):
        default_config, default_data = _platform()
        config = config or default_config
        data = data or default_data
        if runtime is None:
            same = os.path.realpath(data) == os.path.realpath(default_data)
            runtime = _default_runtime(env, "" if same else "-" + _digest(data))
    paths = Paths(config=config, data=data, runtime=runtime)
    if len(os.fsencode(paths.socket)) > limits.SOCKET_PATH_BYTES_MAX:
        return Paths(config=config, data=data, runtime=_temporary("-" + _digest(runtime)))
    return paths


def mark_of(paths: Paths) -> str:
    """Twelve characters for a data directory of one's own, as in its runtime directory; empty for the usual one."""
    same = os.path.realpath(paths.data) == os.path.realpath(_platform()[1])
    return "" if same else _digest(paths.data)


def prepare(paths: Paths) -> None:
    """Create the directories and check that data and runtime are ours alone.

    Raises:
        BetcodeError: config.unwritable, or config.insecure with the command that mends it.
    """
    for directory, variable in ((paths.data, DATA_VARIABLE), (paths.runtime, RUNTIME_VARIABLE)):
        try:
            _create(directory)
        except OSError as e:
            raise BetcodeError(
                "config.unwritable",
                f"the directory {path_text(directory)} cannot be created: {e.strerror}",
                hint=f"Make it a directory that you can write, or name another one in {variable}.",
            ) from e
        _close_if_empty(directory)
        secure_directory(directory)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise BetcodeError(
                "config.unwritable",
                f"the directory {path_text(directory)} cannot be written",
                hint=f"Make it writable (chmod u+rwx {_quoted(directory)}), or name another one in {variable}.",
            )
    # Settings are optional: in a home that is read-only the defaults serve, and load() tells what it cannot read.
    with contextlib.suppress(OSError):
        _create(paths.config)


def path_text(path: Path) -> str:
    """A path for messages, in ASCII where it holds anything that a terminal does not print."""
    text = str(path)
    return text if text.isprintable() else ascii(text)


def secure_directory(directory: Path) -> None:
    """Raise config.insecure unless it is a directory, ours, and closed to everybody else."""
    link, state = _stat(directory, follow=False), _stat(directory, follow=True)
    if not stat.S_ISDIR(state.st_mode):
        raise _insecure(directory, "is not a directory", "Remove it or name another place.")
    _check_owner(directory, link)  # a link that somebody else can turn is no better than the directory itself
    _check_owner(directory, state)
    _check_mode(directory, state, DIRECTORY_MODE)


def secure_socket(path: Path) -> None:
    """Raise config.insecure unless `path` is a socket, 0600 and ours, in a directory that is ours alone (SE-1)."""
    secure_directory(path.parent)
    state = _stat(path, follow=False)
    if not stat.S_ISSOCK(state.st_mode):
        raise _insecure(path, "is not a socket", "Remove it and start the daemon again.")
    _check_owner(path, state)
    _check_mode(path, state, 0o600)


def _given(flags: Mapping[str, str | None], env: Mapping[str, str], flag: str, variable: str) -> Path | None:
    """A directory that the user named, absolute."""
    by_flag = flags.get(flag)
    text = by_flag or env.get(variable)
    if not text:
        return None
    name = "--" + flag.replace("_", "-") if by_flag else variable
    expanded = os.path.expanduser(text)
    problem = ""
    if expanded.startswith("~"):
        problem = "there is no such user"
    elif "\0" in text or len(text) > limits.PATH_CHARS_MAX or not _encodable(text):
        problem = "no file can have this name"
    if problem:
        raise BetcodeError(
            "config.invalid",
            f"{name} = {text[:80]!a} is not allowed: {problem}",
            hint=f"Give a directory's absolute path of at most {limits.PATH_CHARS_MAX} characters, or nothing.",
        )
    return Path(os.path.abspath(expanded))


def _platform() -> tuple[Path, Path]:
    """Directories for configuration and data by the system's conventions."""
    import platformdirs  # noqa: PLC0415  tens of milliseconds that a fully configured command does not need

    config = platformdirs.user_config_path(APP, appauthor=False)
    data = platformdirs.user_state_path(APP, appauthor=False)
    return config, (data / "data" if data == config else data)  # macOS has one place for both


def _default_runtime(env: Mapping[str, str], suffix: str) -> Path:
    """Below the user's runtime directory if there is one. platformdirs is not asked: it warns, and looks at TMPDIR."""
    named = env.get("XDG_RUNTIME_DIR", "")
    candidates = [Path(named)] if os.path.isabs(named) and "\0" not in named else []
    for base in (*candidates, USER_RUNTIME / str(os.geteuid())):
        try:
            state = os.lstat(base)
        except OSError:
            continue  # not there, or not for us: the next one
        if stat.S_ISDIR(state.st_mode) and state.st_uid == os.geteuid() and not state.st_mode & 0o022:
            return base / (APP + suffix)
    return _temporary(suffix)


def _temporary(suffix: str) -> Path:
    """A directory right below /tmp, where the sticky bit keeps others from exchanging it."""
    return TEMPORARY / f"{APP}-{os.geteuid()}{suffix}"


def _digest(path: Path) -> str:
    """Twelve characters for a directory, the same for each spelling of it."""
    return hashlib.blake2b(os.fsencode(os.path.realpath(path)), digest_size=6).hexdigest()


def _create(directory: Path) -> None:
    """The directory closed to others, its parents as usual. An existing one is left as it is. Raises OSError."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    try:
        directory.mkdir(mode=DIRECTORY_MODE)
    except FileExistsError:
        if not directory.is_dir():
            raise


def _close_if_empty(directory: Path) -> None:
    """Close a directory of ours that holds nothing yet: it was made for us with the usual umask.

    One that holds anything is left for a person to decide: others may have put it there, or may need to read it.
    """
    state = os.stat(directory)
    if stat.S_ISDIR(state.st_mode) and state.st_uid == os.geteuid() and state.st_mode & OTHERS:
        with contextlib.suppress(OSError):  # then the check that follows says what is wrong
            if not any(directory.iterdir()):
                directory.chmod(DIRECTORY_MODE)


def _encodable(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _stat(path: Path, *, follow: bool) -> os.stat_result:
    try:
        return os.stat(path, follow_symlinks=follow)
    except OSError as e:
        raise _insecure(path, f"cannot be checked: {e.strerror}", "It must exist and be yours alone.") from e


def _insecure(path: Path, problem: str, hint: str) -> BetcodeError:
    return BetcodeError("config.insecure", f"{path_text(path)} {problem}", hint=hint)


def _check_owner(path: Path, state: os.stat_result) -> None:
    if state.st_uid != os.geteuid():
        problem = f"belongs to the user with id {state.st_uid}, not to you ({os.geteuid()})"
        raise _insecure(path, problem, "Name another place, or have it removed by its owner.")


def _check_mode(path: Path, state: os.stat_result, mode: int) -> None:
    if state.st_mode & OTHERS:
        problem = f"is open to other users (mode {stat.S_IMODE(state.st_mode):04o})"
        raise _insecure(path, problem, f"chmod {mode:o} {_quoted(path)}")


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
