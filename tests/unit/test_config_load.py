"""Settings: which source decides, and what is said about a value that is wrong."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from betcode.config.load import Loaded, Source, load
from betcode.config.paths import Paths
from betcode.config.settings import settings
from betcode.config.tree import Config
from betcode.model.errors import BetcodeError


@dataclass
class Setup:
    """A configuration directory and a project, both empty at first."""

    root: Path

    @property
    def user(self) -> Path:
        return self.root / "config" / "settings.json"

    @property
    def project(self) -> Path:
        return self.root / "project" / ".betcode" / "settings.json"

    @property
    def local(self) -> Path:
        return self.root / "project" / ".betcode" / "settings.local.json"

    def write(self, path: Path, content: object) -> None:
        path.write_text(content if isinstance(content, str) else json.dumps(content))

    def load(self, flags: Mapping[str, object] | None = None, env: Mapping[str, str] | None = None) -> Loaded:
        paths = Paths(config=self.user.parent, data=self.root / "data", runtime=self.root / "run")
        return load(flags=flags or {}, env=env or {}, project_dir=self.root / "project", paths=paths)

    def refusal(self, flags: Mapping[str, object] | None = None, env: Mapping[str, str] | None = None) -> BetcodeError:
        with pytest.raises(BetcodeError) as caught:
            self.load(flags, env)
        assert caught.value.exit_status == 78
        return caught.value


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    found = Setup(tmp_path)
    found.user.parent.mkdir()
    found.project.parent.mkdir(parents=True)
    return found


@pytest.mark.req("CF-1")
def test_without_any_source_every_value_is_its_default(setup: Setup) -> None:
    loaded = setup.load()
    assert loaded.config == Config()
    assert set(loaded.sources) == set(settings())
    assert set(loaded.sources.values()) == {Source("default")}
    assert loaded.warnings == []


@pytest.mark.req("CF-1")
def test_the_stronger_source_decides_at_every_step_of_the_order(setup: Setup) -> None:
    """Goal: the order of CF-1. Method: add the sources from the weakest on; each new one must win."""
    seen = [setup.load()]
    setup.write(setup.user, {"permission": {"headless_ttl_s": 11}})
    seen.append(setup.load())
    setup.write(setup.project, {"permission": {"headless_ttl_s": 12}})
    seen.append(setup.load())
    setup.write(setup.local, {"permission": {"headless_ttl_s": 13}})
    seen.append(setup.load())
    env = {"BETCODE_PERMISSION_HEADLESS_TTL_S": "14"}
    seen.append(setup.load(env=env))
    seen.append(setup.load({"permission.headless_ttl_s": 15}, env))
    assert [s.config.permission.headless_ttl_s for s in seen] == [60, 11, 12, 13, 14, 15]
    assert [s.sources["permission.headless_ttl_s"] for s in seen] == [
        Source("default"),
        Source("user", setup.user, 1),
        Source("project", setup.project, 1),
        Source("project local", setup.local, 1),
        Source("environment", variable="BETCODE_PERMISSION_HEADLESS_TTL_S"),
        Source("flag"),
    ]
    assert all(not s.warnings for s in seen)


@pytest.mark.req("CF-1")
def test_sources_mix_key_by_key(setup: Setup) -> None:
    setup.write(setup.user, '{\n "daemon": {\n  "messages_waiting_max": 7,\n  "log_level": "debug"\n }\n}')
    loaded = setup.load(
        {"daemon.log_level": None, "daemon.connections_max": 3}, {"BETCODE_DAEMON_MESSAGES_WAITING_MAX": "8"}
    )
    assert (
        loaded.config.daemon.messages_waiting_max,
        loaded.config.daemon.log_level,
        loaded.config.daemon.connections_max,
    ) == (8, "debug", 3)
    assert loaded.sources["daemon.log_level"] == Source("user", setup.user, 4)
    assert loaded.sources["daemon.connections_max"] == Source("flag")


@pytest.mark.req("CF-1")
def test_the_daemon_loads_without_a_project(setup: Setup) -> None:
    setup.write(setup.project, {"agent": {"model": "opus"}})
    paths = Paths(config=setup.user.parent, data=setup.root, runtime=setup.root)
    assert load(flags={}, env={}, project_dir=None, paths=paths).config == Config()
    assert setup.load().config.agent.model == "opus"


@pytest.mark.req("CF-1")
def test_variables_are_text_and_become_what_the_setting_is(setup: Setup) -> None:
    env = {
        "BETCODE_DAEMON_CONNECTIONS_MAX": " 5 ",
        "BETCODE_SUPERVISION_BACKOFF_FIRST_S": "0.25",
        "BETCODE_AGENT_ENV_PASS": "FOO, BAR_*,",
        "BETCODE_DAEMON_LOG_LEVEL": "warning",
        "BETCODE_DAEMON_MESSAGES_WAITING_MAX": "",
        "BETCODE_CONFIG_DIR": "/somewhere",
        "HOME": "/home/x",
    }
    loaded = setup.load(env=env)
    assert loaded.config.daemon.connections_max == 5
    assert loaded.config.supervision.backoff_first_s == 0.25
    assert loaded.config.agent.env_pass == ("FOO", "BAR_*")
    assert loaded.config.daemon.log_level == "warning"
    assert loaded.config.daemon.messages_waiting_max == 100, "an empty variable counts as unset"
    assert loaded.warnings == []


@pytest.mark.req("CF-1")
def test_betcode_claude_names_the_executable(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(setup.root)
    monkeypatch.setenv("HOME", "/home/x")
    both = {"BETCODE_CLAUDE": "/a", "BETCODE_AGENT_CLAUDE": "/b"}
    loaded = setup.load(env=both)
    assert loaded.config.agent.claude == "/a"
    assert loaded.sources["agent.claude"] == Source("environment", variable="BETCODE_CLAUDE")
    assert loaded.warnings == ["BETCODE_CLAUDE and BETCODE_AGENT_CLAUDE differ; BETCODE_CLAUDE counts"]
    for text, path in [
        ("bin/claude", str(setup.root / "bin/claude")),
        ("~/claude", "/home/x/claude"),
        ("claude-next", "claude-next"),
    ]:
        assert setup.load(env={"BETCODE_CLAUDE": text}).config.agent.claude == path
        assert setup.load({"agent.claude": Path(text)}).config.agent.claude == path
    setup.write(setup.user, {"agent": {"claude": "bin/claude"}})
    assert "agent.claude" in str(setup.refusal()), "in a file a relative path has no meaning"


@pytest.mark.req("CF-1")
def test_a_flag_that_no_setting_has_is_a_defect_of_the_command(setup: Setup) -> None:
    with pytest.raises(ValueError, match=r"daemon\.nothing"):
        setup.load({"daemon.nothing": 1})


@pytest.mark.req("CF-1", "RS-1")
def test_a_value_out_of_range_is_one_line_with_place_key_value_range_and_default(setup: Setup) -> None:
    setup.write(setup.user, '{\n  "daemon": {\n    "messages_waiting_max": 1001\n  }\n}\n')
    error = setup.refusal()
    assert error.code == "config.invalid"
    assert (
        str(error)
        == f"{setup.user}:3:5: daemon.messages_waiting_max = 1001 is not allowed; allowed: whole number, 1 to 1000"
    )
    assert error.hint == "Change or remove it; the default of daemon.messages_waiting_max is 100."


@pytest.mark.req("CF-1", "RS-1")
@pytest.mark.parametrize("setting", settings().values(), ids=lambda s: s.key)
def test_the_bounds_of_each_number_are_allowed_and_what_is_beyond_is_not(setup: Setup, setting: object) -> None:
    from betcode.config.settings import Setting, value_of

    assert isinstance(setting, Setting)
    meta = setting.meta
    if meta.ge is None or meta.le is None:
        assert setting.kind not in (int, float), "every number has a range"
        return
    for value in (meta.ge, meta.le):
        assert value_of(setup.load({setting.key: value}).config, setting.key) == value
        assert value_of(setup.load(env={setting.variable: str(value)}).config, setting.key) == value
    assert meta.ge <= setting.default <= meta.le  # type: ignore[operator]
    wrong: list[object] = [meta.ge - 1, meta.le + 1, "many", True, None, []]
    for bad in wrong:
        setup.write(setup.user, {setting.section: {setting.name: bad}})
        assert setting.key in str(setup.refusal())


@pytest.mark.req("CF-1", "RS-1")
def test_everything_that_is_wrong_is_told_at_once(setup: Setup) -> None:
    setup.write(setup.user, {"daemon": {"connections_max": 0, "log_level": "loud"}, "agent": 5})
    setup.write(setup.local, {"permission": {"ttl_s": "week"}})
    setup.write(setup.project, "{")
    error = setup.refusal({"daemon.messages_waiting_max": 2_000}, {"BETCODE_SUPERVISION_CRASH_WINDOW_S": "nan"})
    lines = str(error).splitlines()
    assert lines[0] == "7 problems in the configuration:"
    for line, part in zip(
        lines[1:],
        [
            "daemon.connections_max = 0 is not allowed; allowed: whole number, 1 to 10000",
            'daemon.log_level = "loud" is not allowed; allowed: one of debug, info, warning, error',
            "agent = 5 is not allowed; allowed: an object",
            f"{setup.project}:1:2: not valid JSON",
            f'{setup.local}:1:17: permission.ttl_s = "week"',
            'BETCODE_SUPERVISION_CRASH_WINDOW_S: supervision.crash_window_s = "nan"',
            "command line: daemon.messages_waiting_max = 2000",
        ],
        strict=True,
    ):
        assert part in line
    assert "daemon.messages_waiting_max 100" in error.hint
    assert error.hint.count("Change or remove") == 1


@pytest.mark.req("CF-1")
def test_an_unknown_key_is_a_warning_with_the_nearest_known_one(setup: Setup) -> None:
    content = {
        "daemon": {"connection_max": 1},
        "deamon": 1,
        "connections_max": 2,
        "daemon.connections_max": 3,
        "zzzzzz": 4,
        "$schema": "x",
    }
    setup.write(setup.user, json.dumps(content, indent=1))
    loaded = setup.load(env={"BETCODE_DAEMON_CONNECTION_MAX": "1", "BETCODE_QQQQQQ": "1"})
    assert loaded.config == Config()
    assert loaded.warnings == [
        f'{setup.user}:3:3: unknown setting "daemon.connection_max"; did you mean "daemon.connections_max"?',
        f'{setup.user}:5:2: unknown setting "deamon"; did you mean "daemon"?',
        f'{setup.user}:6:2: unknown setting "connections_max"; did you mean "daemon.connections_max"?',
        f'{setup.user}:7:2: "daemon.connections_max" is not read like this;'
        ' write {"daemon": {"connections_max": ...}}',
        f'{setup.user}:8:2: unknown setting "zzzzzz"',
        'unknown variable "BETCODE_DAEMON_CONNECTION_MAX"; did you mean BETCODE_DAEMON_CONNECTIONS_MAX?',
        'unknown variable "BETCODE_QQQQQQ"',
    ]


@pytest.mark.req("CF-1")
def test_a_key_given_twice_is_a_warning_and_the_last_one_counts(setup: Setup) -> None:
    setup.write(
        setup.user,
        '{"daemon": {"connections_max": 99, "messages_waiting_max": 1},'
        '\n "daemon": {"messages_waiting_max": 2, "messages_waiting_max": 3}}',
    )
    loaded = setup.load()
    assert loaded.config.daemon.messages_waiting_max == 3
    assert loaded.warnings == [
        f'{setup.user}:2:2: "daemon" is given more than once; the last one counts',
        f'{setup.user}:2:40: "daemon.messages_waiting_max" is given more than once; the last one counts',
    ]


@pytest.mark.req("CF-1")
@pytest.mark.parametrize("model", ["--help", "a b", "x" * 201, "a\n"])
def test_a_model_cannot_be_an_option_in_disguise(setup: Setup, model: str) -> None:
    setup.write(setup.project, {"agent": {"model": model}})
    assert "agent.model" in str(setup.refusal())
