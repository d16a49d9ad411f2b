"""What systemd and launchd are told of the daemon, read back by themselves or by the rules that they state."""

from __future__ import annotations

import plistlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betcode.adapters.environment import ALLOWED, ALLOWED_PREFIXES
from betcode.cli.service import ENVIRONMENT_FILE
from betcode.core.service.launch_agent import agent_text, label
from betcode.core.service.service import (
    CARRIED,
    CARRIED_PREFIXES,
    Service,
    carried,
    missing,
    names_in,
    program_in,
    service_name,
)
from betcode.core.service.systemd_unit import quoted, unit_name, unit_text
from betcode.model import limits

TEXTS = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), max_size=30).filter(str.isprintable)
PROGRAMS = TEXTS.map(lambda text: "/" + re.sub(r"[\"'\\]", "", text))
ODD = Service(
    "betcode-0123456789ab",
    ("/opt/a b/100%/$HOME/python", "-P", "--data-dir", "/home/x/ü $D %h \"q' \\x"),
    environment=(("BETCODE_DATA_DIR", '/d "q" \\ %n'), ("PATH", "/usr/bin:/bin")),
    environment_file="/home/x/100% mine/service.env",
    log="/home/x/log",
)
PLAIN = Service("betcode", (sys.executable, "-P", "-m", "betcode.daemon"), environment=(("PATH", "/usr/bin:/bin"),))


def settings(text: str) -> dict[str, list[str]]:
    """Names and values as they stand in a unit."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def words_of(value: str) -> list[str]:
    """Quoted words as systemd.syntax(7) and systemd.unit(5) say that they are read."""
    words = re.findall(r'"((?:[^"\\]|\\.)*)"', value)
    assert " ".join(f'"{word}"' for word in words) == value
    assert not re.search(r"(?<!%)(?:%%)*%(?!%)", value), "no specifier is left"
    return [re.sub(r"\\(.)", r"\1", word).replace("%%", "%") for word in words]


@pytest.mark.req("PS-6")
def test_a_unit_ends_the_daemon_alone_and_starts_it_again_only_where_that_can_help() -> None:
    found = settings(unit_text(PLAIN))
    assert found["Type"] == ["notify"]
    assert found["KillMode"] == ["process"]
    assert found["OOMPolicy"] == ["continue"]
    assert found["Restart"] == ["on-failure"]
    assert found["RestartPreventExitStatus"] == ["5 72 78"]
    assert (found["StartLimitBurst"], found["StartLimitIntervalSec"]) == (["5"], ["60"])
    assert found["LimitCORE"] == ["0:infinity"]
    assert float(found["WatchdogSec"][0]) / limits.WATCHDOG_SIGNS * 2 + limits.BUSY_WAIT_S < limits.WATCHDOG_S
    assert float(found["TimeoutStopSec"][0]) > limits.SHUTDOWN_WAIT_S
    assert limits.SERVICE_STARTS_MAX * (limits.SERVICE_RESTART_S + 1) < limits.SERVICE_STARTS_S


@given(PROGRAMS, st.lists(TEXTS), st.dictionaries(st.just("BETCODE_X"), TEXTS), TEXTS)
def test_no_path_or_value_means_anything_to_systemd(
    program: str, words: list[str], env: dict[str, str], file: str
) -> None:
    service = Service("betcode", (program, *words), tuple(env.items()), "/" + file)
    assert service.unfit() == ""
    found = settings(unit_text(service))
    first, *others = words_of(found["ExecStart"][0])
    assert (first, [word.replace("$$", "$") for word in others]) == (program, words)
    assert not re.search(r"(?<!\$)(?:\$\$)*\$(?!\$)", " ".join(others)), "no variable is left"
    assert [words_of(value) for value in found.get("Environment", [])] == [[f"{n}={v}"] for n, v in env.items()]
    assert found["EnvironmentFile"] == ["-/" + file.replace("%", "%%")]
    assert program_in(unit_text(service)) == program


@given(st.lists(TEXTS.map(lambda text: "/" + text), min_size=1), TEXTS)
def test_a_property_list_is_read_back_whole(argv: list[str], value: str) -> None:
    service = Service("betcode", tuple(argv), (("BETCODE_X", value),), log="/log")
    found = plistlib.loads(agent_text(service).encode())
    assert found["ProgramArguments"] == [*argv, "--calm"]
    assert found["EnvironmentVariables"] == {"BETCODE_X": value}
    assert (found["Label"], found["AbandonProcessGroup"], found["RunAtLoad"]) == ("betcode.daemon", True, True)
    assert found["KeepAlive"] == {"SuccessfulExit": False}
    assert found["StandardErrorPath"] == "/log"
    assert program_in(agent_text(service)) == argv[0]


@pytest.mark.parametrize("service", [PLAIN, ODD])
def test_systemd_itself_finds_nothing_wrong_with_a_unit(service: Service, tmp_path: Path) -> None:
    """Where there is a systemd; the other tests hold everywhere."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        return
    program = tmp_path / "py thon 100% $HOME"
    program.symlink_to(sys.executable)
    changed = Service(
        service.name, (str(program), *service.argv[1:]), service.environment, service.environment_file, service.log
    )
    unit = tmp_path / unit_name(changed)
    unit.write_text(unit_text(changed))
    env = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    command = [tool, "--user", "--man=no", "verify", str(unit)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    ours = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, ours) == (0, []), done.stderr


def test_control_characters_are_found_before_anything_is_written() -> None:
    assert (ODD.unfit(), PLAIN.unfit()) == ("", "")
    assert Service("betcode", ("/a\nExecStartPre=/bin/evil",)).unfit()
    assert Service("betcode", ('/a"b',)).unfit() == '/a"b'
    assert Service("betcode", ("/a",), (("PATH", "/b\n"),)).unfit() == "/b\n"
    assert Service("betcode", ("/a",), environment_file="/\x1b").unfit()


@pytest.mark.req("SE-3", "PS-10")
def test_nothing_that_may_be_a_secret_is_written_into_a_service() -> None:
    secret = {"ANTHROPIC_API_KEY", "AWS_SECRET_ACCESS_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "HTTPS_PROXY", "GOOGLE_X"}
    env = dict.fromkeys([*secret, "NPM_TOKEN", "SSH_AUTH_SOCK", "PATH", "LC_ALL", "BETCODE_CLAUDE", "HOME"], "v")
    assert [name for name, _ in carried(env)] == ["BETCODE_CLAUDE", "LC_ALL", "PATH"]
    assert not [n for n in CARRIED if any(word in n for word in ("KEY", "TOKEN", "SECRET", "PASS", "PROXY", "AUTH"))]
    assert CARRIED - {"CLAUDE_CONFIG_DIR"} <= ALLOWED, "a service is given nothing that claude may not have"
    assert set(CARRIED_PREFIXES) - {"BETCODE_"} <= set(ALLOWED_PREFIXES)


def test_what_claude_would_miss_is_named_unless_it_comes_from_elsewhere() -> None:
    passed = ["PATH", "HOME", "TERM", "LC_ALL", "HTTPS_PROXY", "ANTHROPIC_API_KEY", "SSH_AUTH_SOCK"]
    assert missing(passed, elsewhere=["SSH_AUTH_SOCK"]) == ["ANTHROPIC_API_KEY", "HTTPS_PROXY"]
    assert names_in("# A=1\n;B=2\n C = 3\nD=4=5\n\nnothing\n") == ["C", "D"]


def test_names_of_services_are_told_apart_by_their_data_directory() -> None:
    assert (service_name(""), service_name("0123456789ab")) == ("betcode", "betcode-0123456789ab")
    assert (unit_name(PLAIN), label(PLAIN)) == ("betcode.service", "betcode.daemon")
    assert program_in("[Service]\nExecStart=betcode daemon run\n") == ""
    assert quoted('a"b') == '"a\\"b"'


def test_what_a_service_gets_and_what_claude_gets_is_written_down() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/service.md").read_text("utf-8")
    for name in (*ALLOWED, *CARRIED, *(f"{prefix}*" for prefix in (*ALLOWED_PREFIXES, *CARRIED_PREFIXES))):
        assert f"`{name}`" in page, name
    assert ENVIRONMENT_FILE in page
