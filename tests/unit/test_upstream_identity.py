"""Which upstream a session uses, from its environment and the settings files of claude."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from betcode.adapters.upstream_identity import identify, secret_of
from betcode.model.rows import Options
from betcode.model.upstream import UpstreamId

SECRET = b"s" * 32
KEY = {"ANTHROPIC_API_KEY": "sk-ant-secret-value"}


def of(home: Path, project: Path, **env: str) -> UpstreamId:
    return identify({"HOME": str(home), **env}, Options(), str(project), SECRET)


@pytest.mark.req("RL-2")
def test_sessions_with_the_same_address_and_key_share_an_upstream_and_others_do_not(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    same = of(tmp_path, one, **KEY)
    assert same.key == of(tmp_path, other, **KEY).key
    assert same.label == "api.anthropic.com"
    assert same.key != of(tmp_path, one, ANTHROPIC_API_KEY="sk-ant-another").key
    moved = of(tmp_path, one, **KEY, ANTHROPIC_BASE_URL="http://127.0.0.1:8080/x")
    assert (moved.label, moved.key != same.key) == ("127.0.0.1:8080", True)
    assert of(tmp_path, one, **KEY, CLAUDE_CODE_USE_BEDROCK="1").label == "bedrock"


@pytest.mark.req("RL-2", "PS-10")
def test_no_credential_can_be_read_from_an_identity_and_another_installation_has_other_names(tmp_path: Path) -> None:
    found = of(tmp_path, tmp_path, **KEY)
    assert "secret-value" not in repr(found)
    elsewhere = identify({"HOME": str(tmp_path), **KEY}, Options(), str(tmp_path), b"t" * 32)
    assert elsewhere.key != found.key


@pytest.mark.req("RL-2")
def test_settings_files_count_as_claude_reads_them(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / ".claude").mkdir(parents=True)
    (tmp_path / ".claude").mkdir()
    plain = of(tmp_path, project, **KEY)
    (tmp_path / ".claude" / "settings.json").write_text(json.dumps({"env": {"ANTHROPIC_BASE_URL": "https://user"}}))
    assert of(tmp_path, project, **KEY).label == "user"
    (project / ".claude" / "settings.local.json").write_text('{"env": {"ANTHROPIC_BASE_URL": "https://local"}}')
    assert of(tmp_path, project, **KEY).label == "local"
    none = identify({"HOME": str(tmp_path), **KEY}, Options(setting_sources=""), str(project), SECRET)
    assert none.key == plain.key
    (project / ".claude" / "settings.local.json").write_text("{ no json")
    assert of(tmp_path, project, **KEY).label == "user"


@pytest.mark.req("RL-1", "RL-2")
def test_a_changed_credential_file_shows_and_keeps_the_upstream(tmp_path: Path) -> None:
    home = tmp_path / "account"
    home.mkdir()
    before = of(tmp_path, tmp_path, CLAUDE_CONFIG_DIR=str(home))
    (home / ".credentials.json").write_text("{}")
    after = of(tmp_path, tmp_path, CLAUDE_CONFIG_DIR=str(home))
    assert (after.key == before.key, after.fingerprint == before.fingerprint) == (True, False)


@pytest.mark.req("RL-2")
def test_two_folders_with_the_same_login_share_an_upstream(tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        login = {"oauthAccount": {"accountUuid": "u", "organizationUuid": "o"}}
        (tmp_path / name / ".claude.json").write_text(json.dumps(login))
        found.append(of(tmp_path, tmp_path, CLAUDE_CONFIG_DIR=str(tmp_path / name)).key)
    assert found[0] == found[1]


@pytest.mark.req("PS-10")
def test_the_secret_is_made_once_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    made = secret_of(path)
    assert (secret_of(path), path.stat().st_mode & 0o777, len(made)) == (made, 0o600, 32)
    path.write_bytes(b"short")
    assert secret_of(path) != made
