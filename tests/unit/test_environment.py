"""What of the daemon's environment reaches claude (PS-10)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betcode.adapters.environment import child_environment
from betcode.model.rows import Options

NAMES = st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZ_", min_size=1, max_size=12)


@pytest.mark.req("PS-10")
def test_only_listed_names_and_families_pass() -> None:
    source = {
        "HOME": "/h",
        "PATH": "/bin",
        "LC_ALL": "C",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:1",
        "CLAUDE_CONFIG_DIR": "/c",
        "AWS_REGION": "x",
        "GOOGLE_CLOUD_PROJECT": "x",
        "HTTPS_PROXY": "http://proxy",
        "CLAUDECODE": "1",
        "DATABASE_PASSWORD": "secret",
        "BETCODE_DATA_DIR": "/d",
    }
    env = child_environment(source, Options())
    assert "CLAUDECODE" not in env
    assert "DATABASE_PASSWORD" not in env
    assert not any(name.startswith("BETCODE_") for name in env)
    for name in ("HOME", "LC_ALL", "ANTHROPIC_BASE_URL", "CLAUDE_CONFIG_DIR", "AWS_REGION", "HTTPS_PROXY"):
        assert env[name] == source[name]


@pytest.mark.req("PS-10")
def test_path_and_virtual_env_are_those_of_the_client_that_made_the_session() -> None:
    source = {"PATH": "/daemon", "VIRTUAL_ENV": "/daemon-venv"}
    env = child_environment(source, Options(path="/client", virtual_env="/venv"))
    assert (env["PATH"], env["VIRTUAL_ENV"]) == ("/client", "/venv")
    assert "VIRTUAL_ENV" not in child_environment(source, Options(path="/client"))


@pytest.mark.req("PS-10")
def test_settings_add_names_and_families_but_never_our_own() -> None:
    source = {"NPM_TOKEN": "t", "ACME_A": "1", "ACME_B": "2", "BETCODE_X": "no", "CLAUDECODE": "1"}
    env = child_environment(source, Options(), ("NPM_TOKEN", "ACME_*", "BETCODE_*", "BETCODE_X", "CLAUDECODE", "*"))
    assert env["NPM_TOKEN"] == "t"
    assert (env["ACME_A"], env["ACME_B"]) == ("1", "2")
    assert "BETCODE_X" not in env
    assert "CLAUDECODE" not in env


@pytest.mark.req("OB-2")
def test_the_trace_context_reaches_the_child() -> None:
    trace = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
    assert child_environment({}, Options(), (), trace)["TRACEPARENT"] == trace


@pytest.mark.req("PS-10")
@given(st.dictionaries(NAMES, st.just("v")), st.lists(NAMES))
def test_nothing_of_betcode_and_no_claudecode_whatever_is_asked(source: dict[str, str], extra: list[str]) -> None:
    env = child_environment(source | {"BETCODE_Z": "v", "CLAUDECODE": "v"}, Options(), extra)
    assert not any(name.startswith("BETCODE_") or name == "CLAUDECODE" for name in env)
