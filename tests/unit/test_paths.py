"""Where files are kept, and that nobody else can reach them."""

import os
import shlex
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from betcode.config import paths as module
from betcode.config.paths import Paths, find_paths, prepare, secure_directory, secure_socket
from betcode.model import limits
from betcode.model.errors import BetcodeError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, no XDG variables, no runtime directory, and a place for temporary files."""
    for name in [n for n in os.environ if n.startswith(("XDG_", "BETCODE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(module, "TEMPORARY", Path("/t"))  # short, as the real one is; nothing is created there
    monkeypatch.setattr(module, "USER_RUNTIME", tmp_path / "none")
    return tmp_path


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose path leaves room for a socket."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="bc") as name:
        yield Path(name)


def three(root: Path) -> Paths:
    return Paths(config=root / "c", data=root / "d", runtime=root / "r")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refusal(paths: Paths) -> BetcodeError:
    with pytest.raises(BetcodeError) as caught:
        prepare(paths)
    assert caught.value.exit_status == 78
    return caught.value


@pytest.mark.req("CF-2")
def test_an_option_outranks_the_variable_and_the_variable_the_platform(home: Path) -> None:
    env = {"BETCODE_CONFIG_DIR": "/e/c", "BETCODE_DATA_DIR": "/e/d", "BETCODE_RUNTIME_DIR": "/e/r"}
    flags = {"config_dir": "/f/c", "data_dir": "/f/d", "runtime_dir": "/f/r"}
    assert find_paths(flags, env) == three(Path("/f"))
    assert find_paths({"data_dir": None, "config_dir": ""}, env) == three(Path("/e"))
    found = find_paths({}, {})
    assert len({found.config, found.data, found.runtime}) == 3, "they are kept apart"
    assert found.config.is_relative_to(home)
    assert found.data.is_relative_to(home)


@pytest.mark.req("CF-2")
def test_directories_are_where_the_conventions_of_the_system_say(home: Path) -> None:
    found = find_paths({}, {})
    if sys.platform == "darwin":
        support = home / "Library/Application Support/betcode"
        assert (found.config, found.data) == (support, support / "data")
    else:
        assert (found.config, found.data) == (home / ".config/betcode", home / ".local/state/betcode")
    assert found.runtime == Path(f"/t/betcode-{os.geteuid()}")


@pytest.mark.req("CF-2")
def test_every_file_has_its_place_in_the_three_directories() -> None:
    paths = three(Path("/x"))
    assert paths.settings == Path("/x/c/settings.json")
    assert paths.database == Path("/x/d/daemon.db")
    assert paths.sessions == Path("/x/d/sessions")
    assert paths.intake == Path("/x/d/intake")
    assert paths.lock == Path("/x/d/daemon.lock")
    assert paths.log == Path("/x/d/daemon.log")
    assert paths.socket == Path("/x/r/daemon.sock")


@pytest.mark.req("CF-2")
def test_a_relative_path_and_a_tilde_become_absolute(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    found = find_paths({"data_dir": "here/../there"}, {"BETCODE_CONFIG_DIR": "~/c"})
    assert found.data == home / "there"
    assert found.config == home / "c"


@pytest.mark.req("CF-2")
@pytest.mark.parametrize("text", ["a\0b", "~no-such-user-here/x", "x" * 5_000, "\ud800"])
def test_a_path_that_cannot_be_is_refused_with_the_name_of_its_option(home: Path, text: str) -> None:
    with pytest.raises(BetcodeError, match="--data-dir") as caught:
        find_paths({"data_dir": text}, {})
    assert caught.value.code == "config.invalid"
    with pytest.raises(BetcodeError, match="BETCODE_RUNTIME_DIR"):
        find_paths({}, {"BETCODE_RUNTIME_DIR": text})


@pytest.mark.req("CF-2")
def test_the_runtime_directory_of_the_login_is_used_only_if_nobody_else_can_write_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = home / "login"
    login.mkdir(mode=0o700)
    assert find_paths({}, {"XDG_RUNTIME_DIR": str(login)}).runtime == login / "betcode"
    login.chmod(0o770)
    fallback = Path(f"/t/betcode-{os.geteuid()}")
    assert find_paths({}, {"XDG_RUNTIME_DIR": str(login)}).runtime == fallback
    assert find_paths({}, {"XDG_RUNTIME_DIR": str(home / "missing")}).runtime == fallback
    assert find_paths({}, {"XDG_RUNTIME_DIR": "relative"}).runtime == fallback
    # A shell that lacks the variable must find the same daemon.
    (home / "run" / str(os.geteuid())).mkdir(parents=True, mode=0o700)
    monkeypatch.setattr(module, "USER_RUNTIME", home / "run")
    assert find_paths({}, {}).runtime == home / "run" / str(os.geteuid()) / "betcode"


@pytest.mark.req("RS-3", "CF-2")
def test_two_data_directories_never_share_a_socket(home: Path) -> None:
    default = find_paths({}, {})
    one, other = (find_paths({"data_dir": str(home / name)}, {}) for name in ("one", "other"))
    assert len({default.socket, one.socket, other.socket}) == 3
    assert find_paths({"data_dir": str(default.data)}, {}) == default, "the default one, given by name, is the same"


@pytest.mark.req("RS-3", "CF-2")
def test_a_data_directory_has_the_same_socket_under_each_of_its_names(home: Path) -> None:
    (home / "one").mkdir()
    (home / "link").symlink_to("one")
    found = {find_paths({"data_dir": str(home / name)}, {}).socket for name in ("one", "link", "link/../one/")}
    assert len(found) == 1


@pytest.mark.req("CF-2")
def test_a_socket_path_too_long_for_the_system_goes_to_a_short_place(home: Path) -> None:
    room = limits.SOCKET_PATH_BYTES_MAX - len("/daemon.sock")
    fits, too_long = "/" + "r" * (room - 1), "/" + "r" * room
    assert find_paths({"runtime_dir": fits}, {}).runtime == Path(fits)
    moved = find_paths({"runtime_dir": too_long}, {})
    assert moved.runtime.parent == Path("/t")
    assert len(os.fsencode(moved.socket)) <= limits.SOCKET_PATH_BYTES_MAX
    assert moved == find_paths({"runtime_dir": too_long}, {}), "client and daemon agree"
    assert moved.runtime != find_paths({"runtime_dir": too_long + "r"}, {}).runtime
    assert find_paths({"runtime_dir": "/" + "ü" * (room // 2)}, {}).runtime.parent == Path("/t"), "bytes count"


@pytest.mark.req("CF-2", "SE-1")
def test_new_directories_are_closed_to_others_whatever_the_umask(tmp_path: Path) -> None:
    paths = three(tmp_path / "new")
    before = os.umask(0)
    try:
        prepare(paths)
        prepare(paths)
    finally:
        os.umask(before)
    assert [mode(p) for p in (paths.config, paths.data, paths.runtime)] == [0o700] * 3


@pytest.mark.req("SE-1")
@pytest.mark.parametrize("name", ["d", "r"])
@pytest.mark.parametrize("bits", [0o750, 0o701, 0o777])
def test_a_directory_open_to_others_is_refused_with_the_command_that_closes_it(
    tmp_path: Path, name: str, bits: int
) -> None:
    paths = three(tmp_path / "with space")
    prepare(paths)
    (tmp_path / "with space" / name / "something").touch()
    (tmp_path / "with space" / name).chmod(bits)
    error = refusal(paths)
    assert error.code == "config.insecure"
    assert f"{bits:04o}" in str(error)
    subprocess.run(shlex.split(error.hint), check=True)
    prepare(paths)


@pytest.mark.req("SE-1")
@pytest.mark.parametrize("bits", [0o755, 0o775, 0o777])
def test_an_empty_directory_that_the_user_made_for_us_is_closed_to_others(tmp_path: Path, bits: int) -> None:
    paths = three(tmp_path)
    for directory in (paths.data, paths.runtime):
        directory.mkdir(parents=True)
        directory.chmod(bits)
    prepare(paths)
    assert [mode(p) for p in (paths.data, paths.runtime)] == [0o700] * 2


def foreign(tmp_path: Path) -> Path:
    """A directory of somebody else."""
    if os.geteuid() != 0:
        return Path("/")
    other = tmp_path / "foreign"
    other.mkdir(mode=0o700)
    os.chown(other, 12_345, 12_345)
    return other


@pytest.mark.req("SE-1")
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    other = foreign(tmp_path)
    error = refusal(Paths(config=tmp_path / "c", data=tmp_path / "d", runtime=other))
    assert error.code == "config.insecure"
    assert "belongs to" in str(error)
    # A link of ours to it changes nothing.
    (tmp_path / "link").symlink_to(other)
    with pytest.raises(BetcodeError, match="belongs to"):
        secure_directory(tmp_path / "link")


@pytest.mark.req("SE-1")
def test_a_link_of_our_own_may_lead_to_the_data_on_another_disk(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir(mode=0o700)
    (tmp_path / "d").symlink_to("disk")
    prepare(three(tmp_path))
    secure_directory(tmp_path / "d")


@pytest.mark.req("SE-1")
def test_a_link_that_another_user_can_turn_is_refused(tmp_path: Path) -> None:
    link = Path("/proc/self")  # a link of root's that leads to a directory of ours
    if os.geteuid() == 0:
        (tmp_path / "own").mkdir(mode=0o700)
        link = tmp_path / "link"
        link.symlink_to("own")
        os.lchown(link, 12_345, 12_345)
    with pytest.raises(BetcodeError, match="belongs to" if link.exists() else "cannot be checked"):
        secure_directory(link)


@pytest.mark.req("CF-2")
@pytest.mark.parametrize("data", ["file", "file/below", "dangling"])
def test_a_directory_that_cannot_be_made_is_an_error_that_names_the_way_out(tmp_path: Path, data: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to("nowhere")
    error = refusal(Paths(config=tmp_path / "c", data=tmp_path / data, runtime=tmp_path / "r"))
    assert error.code == "config.unwritable"
    assert str(tmp_path / data) in str(error)
    assert "BETCODE_DATA_DIR" in error.hint


@pytest.mark.req("CF-2")
def test_settings_are_optional_so_their_directory_may_be_impossible(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    prepare(Paths(config=tmp_path / "file" / "c", data=tmp_path / "d", runtime=tmp_path / "r"))
    assert (tmp_path / "d").is_dir()


@pytest.mark.req("SE-1")
def test_a_socket_is_accepted_only_when_it_and_its_directory_are_closed_to_others(short: Path) -> None:
    path = short / "daemon.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        path.chmod(0o600)
        secure_socket(path)
        path.chmod(0o660)
        with pytest.raises(BetcodeError, match="open to other users") as caught:
            secure_socket(path)
        assert caught.value.hint == f"chmod 600 {path}"
        path.chmod(0o600)
        short.chmod(0o711)
        with pytest.raises(BetcodeError, match="open to other users") as caught:
            secure_socket(path)
        assert caught.value.hint == f"chmod 700 {short}"


@pytest.mark.req("SE-1")
def test_what_is_no_socket_or_not_there_is_not_accepted_as_one(short: Path) -> None:
    (short / "file").touch(mode=0o600)
    for name, problem in (("file", "is not a socket"), ("missing", "cannot be checked")):
        with pytest.raises(BetcodeError, match=problem) as caught:
            secure_socket(short / name)
        assert caught.value.code == "config.insecure"


@pytest.mark.req("CF-2")
def test_given_directories_cost_no_import_of_platformdirs() -> None:
    program = """if True:
        import sys
        import betcode.config.load, betcode.config.show
        from betcode.config.paths import find_paths
        find_paths({"config_dir": "/c", "data_dir": "/d", "runtime_dir": "/r"}, {})
        print([m for m in ("platformdirs", "difflib", "asyncio") if m in sys.modules])
    """
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
