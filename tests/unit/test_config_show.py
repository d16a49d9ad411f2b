"""What is shown of the settings, and what a reload changes."""

import dataclasses
import re
from pathlib import Path

import msgspec
import pytest

from betcode.config.load import Loaded, Source, load
from betcode.config.paths import Paths
from betcode.config.settings import build, settings, value_of
from betcode.config.show import Row, changed, reference, rows
from betcode.config.tree import Config
from betcode.model import limits


@pytest.mark.req("CF-1")
def test_every_value_is_shown_with_its_source(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{\n"daemon": {"log_level": "debug"}}')
    paths = Paths(config=tmp_path, data=tmp_path, runtime=tmp_path)
    env = {"BETCODE_AGENT_ENV_PASS": "A,B_*", "BETCODE_CLAUDE": "/opt/\u202eclaude"}
    loaded = load(flags={"permission.ttl_s": 3_600.0}, env=env, project_dir=None, paths=paths)
    shown = {row.key: row for row in rows(loaded)}
    assert list(shown) == list(settings())
    assert shown["daemon.log_level"] == Row("daemon.log_level", '"debug"', f"user {tmp_path}/settings.json:2")
    assert shown["agent.env_pass"] == Row("agent.env_pass", '["A", "B_*"]', "environment BETCODE_AGENT_ENV_PASS")
    assert shown["agent.claude"].value == '"/opt/\\u202eclaude"', "made visible"
    assert shown["permission.ttl_s"] == Row("permission.ttl_s", "3600", "flag")
    assert shown["daemon.messages_waiting_max"] == Row("daemon.messages_waiting_max", "100", "default")


@pytest.mark.req("CF-1")
def test_what_is_shown_can_be_pasted_into_a_file(tmp_path: Path) -> None:
    shown = rows(Loaded(Config(), dict.fromkeys(settings(), Source("default")), []))
    sections: dict[str, dict[str, object]] = {}
    for row in shown:
        section, name = row.key.split(".")
        sections.setdefault(section, {})[name] = msgspec.json.decode(row.value)
    (tmp_path / "settings.json").write_bytes(msgspec.json.encode(sections))
    paths = Paths(config=tmp_path, data=tmp_path, runtime=tmp_path)
    loaded = load(flags={}, env={}, project_dir=None, paths=paths)
    assert loaded.config == Config()
    assert {source.name for source in loaded.sources.values()} == {"user"}


@pytest.mark.req("RS-4")
def test_a_change_is_named_as_taken_on_reload_or_waiting_for_the_next_start() -> None:
    old = Config()
    assert changed(old, build({})) == ([], [])
    new = build(
        {
            "daemon.connections_max": 1,
            "daemon.log_level": "debug",
            "daemon.log_bytes_max": 2**21,
            "storage.message_key_days": 31,
        }
    )
    found = changed(old, new)
    assert found.reloadable == ["daemon.log_level", "storage.message_key_days"]
    assert found.needs_restart == ["daemon.log_bytes_max", "daemon.connections_max"]


@pytest.mark.req("CF-1")
def test_the_reference_has_one_complete_line_for_each_setting() -> None:
    text = reference()
    lines = re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|(.*)\|$", text, re.MULTILINE)
    assert [key for key, _ in lines] == list(settings())
    for key, rest in lines:
        kind, bounds, default, sentence, reload, project = (cell.strip() for cell in rest.split("|"))
        assert kind, key
        assert bounds or kind.startswith(("one of", "true or")), key
        assert default, key
        assert sentence.endswith("."), key
        assert {reload, project} <= {"yes", "no"}, key


@pytest.mark.req("CF-1")
def test_a_default_that_is_a_limit_of_the_program_is_that_limit() -> None:
    config = Config()
    assert value_of(config, "supervision.max_payload_bytes") == limits.LINE_BYTES_MAX
    assert value_of(config, "permission.ttl_s") == limits.PERMISSION_TTL_S == 604_800
    assert value_of(config, "permission.headless_ttl_s") == limits.PERMISSION_TTL_HEADLESS_S == 60
    assert value_of(config, "supervision.crashes_max") == limits.CRASHES_MAX
    assert value_of(config, "daemon.connections_max") == limits.CONNECTIONS_MAX


@pytest.mark.req("CF-1")
def test_the_tree_cannot_be_changed_once_loaded() -> None:
    config = Config()
    with pytest.raises(AttributeError, match="immutable"):
        config.daemon.connections_max = 3  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        Source("flag").name = "x"  # type: ignore[misc]
