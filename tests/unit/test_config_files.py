"""Settings files that are broken, and those of a repository that means harm."""

import json
import os
import socket
from pathlib import Path

import pytest

from betcode.config.load import Loaded, load
from betcode.config.paths import Paths
from betcode.config.settings import settings
from betcode.config.settings_file import FILE_BYTES_MAX, WARNINGS_MAX
from betcode.config.tree import Config
from betcode.model.errors import BetcodeError


@pytest.fixture
def user(tmp_path: Path) -> Path:
    return tmp_path / "settings.json"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project" / ".betcode"
    folder.mkdir(parents=True)
    return folder / "settings.json"


def loaded(root: Path) -> Loaded:
    return load(flags={}, env={}, project_dir=root / "project", paths=Paths(config=root, data=root, runtime=root))


def refusal(root: Path) -> BetcodeError:
    with pytest.raises(BetcodeError) as caught:
        loaded(root)
    assert caught.value.exit_status == 78
    return caught.value


@pytest.mark.req("CF-1", "RS-1")
@pytest.mark.parametrize(
    "content, place, problem",
    [
        (b'{\n "daemon": {,}\n}', "2:13", "Expecting property name enclosed in double quotes"),
        (b"", "1:1", "Expecting value"),
        (b'{"a": 1}\n\n x', "3:2", "Extra data after the end"),
        (b"\n [1]", "2:2", "The file must hold an object in braces"),
        (b'{"a": "N",\n "b": [1, NaN]}', "2:11", "NaN is not JSON"),
        (b'{"a": -Infinity}', "1:8", "-Infinity is not JSON"),
        (b'{"a":\n "\xc3\xbc\xff"}', "2:4", "Not valid UTF-8"),
        (b'{"a": "\n"}', "1:8", "Invalid control character at"),
        (b"[" * 100_000, "1:1", "Nested too deeply"),
    ],
)
def test_what_is_no_json_is_told_with_line_column_and_problem(
    tmp_path: Path, user: Path, content: bytes, place: str, problem: str
) -> None:
    user.write_bytes(content)
    error = refusal(tmp_path)
    assert error.code == "config.invalid"
    assert str(error) == f"{user}:{place}: not valid JSON: {problem}"


@pytest.mark.req("CF-1")
def test_a_byte_order_mark_and_any_white_space_do_no_harm(tmp_path: Path, user: Path) -> None:
    user.write_bytes(b'\xef\xbb\xbf\r\n{ "daemon" :\t{ "messages_waiting_max"\n:\r 3 } , "agent":{ } }\n')
    found = loaded(tmp_path)
    assert found.config.daemon.messages_waiting_max == 3
    assert found.sources["daemon.messages_waiting_max"].line == 2


@pytest.mark.req("CF-1")
@pytest.mark.parametrize("value", ["1e999", "9" * 5_000, "-" + "9" * 400, "1" + "0" * 40])
def test_an_enormous_number_is_out_of_range_and_nothing_worse(tmp_path: Path, user: Path, value: str) -> None:
    for key in ("messages_waiting_max", "log_bytes_max"):
        user.write_text(f'{{"daemon": {{"{key}": {value}}}}}')
        assert f"daemon.{key}" in str(refusal(tmp_path))


@pytest.mark.req("CF-1", "SE-4")
def test_what_a_file_holds_cannot_act_on_the_terminal_and_is_not_quoted_at_length(tmp_path: Path, user: Path) -> None:
    evil = "\u001b[2J\u202e\x7f" + "x" * 10_000
    user.write_text(json.dumps({"daemon": {"log_level": evil}}))
    text = str(refusal(tmp_path))
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 400
    user.write_text(json.dumps({evil: 1, "daemon": {evil: 1}}))
    for warning in loaded(tmp_path).warnings:
        assert warning.isascii()
        assert warning.isprintable()
        assert len(warning) < 400


@pytest.mark.req("CF-1")
def test_a_file_of_more_than_a_mebibyte_is_refused_and_one_of_just_that_is_read(tmp_path: Path, user: Path) -> None:
    user.write_text("{}".ljust(FILE_BYTES_MAX))
    assert loaded(tmp_path).config == Config()
    user.write_text("{}".ljust(FILE_BYTES_MAX + 1))
    error = refusal(tmp_path)
    assert (error.code, "larger than 1048576 bytes" in str(error)) == ("config.invalid", True)


@pytest.mark.req("CF-1")
@pytest.mark.limit(20)
def test_a_hundred_thousand_unknown_keys_give_a_few_warnings_quickly(tmp_path: Path, user: Path) -> None:
    user.write_text("{" + ",\n".join(f'"{n}":0' for n in range(90_000)) + "}")
    assert len(user.read_bytes()) > FILE_BYTES_MAX * 0.9
    warnings = loaded(tmp_path).warnings
    assert len(warnings) == WARNINGS_MAX + 1
    assert warnings[-1] == f"{user}: {90_000 - WARNINGS_MAX} more warnings"


@pytest.mark.req("CF-1")
@pytest.mark.limit(10)
@pytest.mark.parametrize("kind", ["pipe", "device", "socket", "directory", "loop"])
def test_a_trap_in_the_place_of_a_file_is_refused_without_waiting(
    tmp_path: Path, project: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "pipe":
        os.mkfifo(project)
    elif kind == "device":
        project.symlink_to("/dev/zero")
    elif kind == "directory":
        project.mkdir()
    elif kind == "loop":
        project.symlink_to(project)
    else:
        monkeypatch.chdir(project.parent)  # the whole path may be too long for a socket
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(project.name)
    error = refusal(tmp_path)
    assert error.code == "config.invalid"
    assert str(error).startswith(f"{project} cannot be read: ")


@pytest.mark.req("CF-1")
def test_a_project_without_settings_or_with_a_file_in_the_folders_place_is_fine(tmp_path: Path) -> None:
    assert loaded(tmp_path).warnings == []
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / ".betcode").write_text("mine")
    assert loaded(tmp_path) == Loaded(Config(), loaded(tmp_path).sources, [])


@pytest.mark.req("CF-1")
@pytest.mark.parametrize("name", ["settings.json", "settings.local.json"])
def test_a_project_cannot_set_what_names_programs_variables_directories_or_totals(
    tmp_path: Path, project: Path, name: str
) -> None:
    """Goal: a hostile repository gains nothing. Method: it sets every key, with values it would like."""
    content: dict[str, dict[str, object]] = {}
    for setting in settings().values():
        content.setdefault(setting.section, {})[setting.name] = "/evil" if setting.kind is str else 1
    content["agent"] |= {"claude": "/evil/claude", "env_pass": ["AWS_SECRET"], "model": "opus"}
    content["permission"] = {"ttl_s": 3_600, "headless_ttl_s": 1}
    (project.parent / name).write_text(json.dumps(content))
    found = loaded(tmp_path)
    given = {key for key, source in found.sources.items() if source.name != "default"}
    assert given == {"agent.model", "permission.ttl_s", "permission.headless_ttl_s"}
    assert found.config.agent.claude == ""
    assert found.config.agent.env_pass == ()
    ignored = "\n".join(found.warnings)
    assert "agent.claude is ignored: a project's files may not set it" in ignored
    assert "agent.env_pass is ignored" in ignored


@pytest.mark.req("CF-1")
def test_what_a_project_may_set_is_a_list_that_only_grows_on_purpose() -> None:
    assert [key for key, setting in settings().items() if setting.project] == [
        "agent.model",
        "permission.ttl_s",
        "permission.headless_ttl_s",
    ]


@pytest.mark.req("CF-1", "CF-2")
def test_own_settings_that_others_can_write_are_refused(tmp_path: Path, user: Path) -> None:
    user.write_text("{}")
    user.chmod(0o664)
    loaded(tmp_path)  # the usual mode where each user has a group of their own
    user.chmod(0o666)
    error = refusal(tmp_path)
    assert error.code == "config.insecure"
    assert str(user) in str(error)
