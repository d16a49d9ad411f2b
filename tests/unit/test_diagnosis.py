"""From facts to findings: each kind of trouble is named with its severity and a command that a shell understands."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import betcode
from betcode.core.diagnosis import finding, places, programs
from betcode.core.diagnosis.finding import Severity
from betcode.core.diagnosis.places import Kind, Place, Room
from betcode.model import limits
from betcode.model.errors import CODES
from betcode.testing.findings import assert_a_shell_understands, found

ME = 1000
DATA = "/home/me/it's data"


def test_every_id_stands_in_the_documentation_and_nothing_else_does() -> None:
    root = Path(betcode.__file__).parent
    sources = [*(root / "core/diagnosis").glob("*.py"), *(root / "cli").glob("doctor*.py")]
    made = {text for path in sources for text in ids_in(path.read_text("utf-8"))}
    page = (root.parents[1] / "docs/doctor.md").read_text("utf-8")
    told = {name for name in re.findall(r"`([a-z_]+\.[a-z_]+)`", page) if name.partition(".")[0] in finding.GROUPS}
    assert made - told - CODES.keys() == set()
    families = {"directories", "disk"}  # ids of these are put together from the group and what is looked at
    assert {name for name in told - made if name.partition(".")[0] not in families} == set()


def ids_in(source: str) -> set[str]:
    """Texts of a source file that look like an id."""
    groups = "|".join(finding.GROUPS)
    return set(re.findall(rf'"((?:{groups})\.[a-z_]+)"', source))


def test_a_warning_without_a_command_or_of_no_group_is_a_defect() -> None:
    with pytest.raises(ValueError, match="does not say what to do"):
        finding.warning("disk.data", "it is bad", "")
    with pytest.raises(ValueError, match="belongs to no group"):
        finding.ok("weather.rain", "it is dry")


def test_the_summary_counts_and_the_order_is_that_of_the_groups() -> None:
    mixed = [
        finding.error("disk.data", "full", "df"),
        finding.ok("installation.python", "fine"),
        finding.warning("clock.wall", "odd", "date"),
        finding.info("claude.version", "newer"),
    ]
    ordered = finding.in_order(mixed)
    assert [f.group for f in ordered] == ["installation", "claude", "disk", "clock"]
    assert finding.summary(ordered) == "1 ok, 1 to know, 1 warning, 1 error"
    assert finding.has_error(ordered)
    assert not finding.has_error([f for f in ordered if f.severity is not Severity.ERROR])
    assert ordered[2].fields() == {"id": "disk.data", "severity": "error", "what": "full", "hint": "df"}


# --- installation, claude -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "python, installed, first, second",
    [
        ((3, 11, 0), "1.0", "ok", "ok"),
        ((3, 10, 9), "1.0", "error", "ok"),
        ((3, 12, 1), None, "ok", "ok"),
        ((3, 12, 1), "0.9", "ok", "warning"),
    ],
)
def test_python_and_the_package_are_judged(
    python: tuple[int, ...], installed: str | None, first: str, second: str
) -> None:
    judged = programs.judge_program(programs.Program(python, "/bin/python", "1.0", installed, "/lib/betcode"))
    assert [found(judged, f"installation.{n}").severity for n in ("python", "package")] == [first, second]


@pytest.mark.req("PS-12")
@pytest.mark.parametrize(
    "version, severity, hint",
    [
        ((2, 1, 222), "ok", ""),
        ((2, 1, 330), "ok", ""),
        ((2, 1, 221), "error", "/bin/claude update"),
        ((2, 2, 0), "info", ""),
    ],
)
def test_the_version_of_claude_is_compared_with_what_is_needed_and_was_tried(
    version: tuple[int, ...], severity: str, hint: str
) -> None:
    claude = programs.Claude("/bin/claude", version, oldest=(2, 1, 222), tested=(2, 1, 330))
    one = found(programs.judge_claude(claude), "claude.version")
    assert (one.severity, one.hint) == (severity, hint)


def test_a_claude_of_the_python_package_is_brought_up_to_date_with_pip() -> None:
    path = "/lib/claude_agent_sdk/_bundled/claude"
    claude = programs.Claude(path, (2, 0, 0), oldest=(2, 1, 222), tested=(2, 1, 330))
    assert found(programs.judge_claude(claude), "claude.version").hint == 'pip install --upgrade "betcode[claude]"'


def test_no_claude_and_a_claude_without_a_version_are_errors() -> None:
    missing = programs.judge_claude(programs.Claude(problem="none was found", hint="pip install x"))
    assert found(missing, "claude.found").severity == "error"
    silent = programs.judge_claude(programs.Claude("/bin/true", problem="no version", hint="pip install x"))
    assert [f.severity for f in silent] == ["ok", "error"]


@pytest.mark.parametrize(
    "login, severity",
    [
        (programs.Login(), "warning"),
        (programs.Login(hidden=True), "info"),
        (programs.Login(frozenset({"ANTHROPIC_API_KEY"})), "ok"),
        (programs.Login(files=("/h/.claude/.credentials.json",)), "ok"),
        (programs.Login(frozenset(), frozenset({"ANTHROPIC_API_KEY"})), "ok"),
        (programs.Login(frozenset({"ANTHROPIC_API_KEY"}), frozenset({"ANTHROPIC_API_KEY"})), "ok"),
        (programs.Login(frozenset({"ANTHROPIC_API_KEY"}), frozenset()), "warning"),
        (programs.Login(frozenset({"ANTHROPIC_API_KEY"}), frozenset(), ("file",)), "ok"),
    ],
)
def test_a_login_is_known_by_its_names_and_the_daemon_must_have_it(login: programs.Login, severity: str) -> None:
    assert found(programs.judge_login(login), "claude.login").severity == severity


@pytest.mark.parametrize(
    "linger, severity",
    [
        (programs.Linger(), "ok"),
        (programs.Linger(systemd=True, lingers=True), "ok"),
        (programs.Linger(systemd=True, lingers=None), "info"),
        (programs.Linger(systemd=True, lingers=False), "info"),
        (programs.Linger(systemd=True, lingers=False, socket_at_risk=True), "warning"),
    ],
)
def test_linger_matters_only_with_systemd(linger: programs.Linger, severity: str) -> None:
    one = found(programs.judge_linger(linger), "system.linger")
    assert one.severity == severity
    assert one.hint == ("" if severity == "ok" else "loginctl enable-linger")


# --- directories, settings, disk, clock -----------------------------------------------------------------------------


@pytest.mark.req("SE-1")
@pytest.mark.parametrize(
    "change, severity, word",
    [
        ({}, "ok", "yours alone"),
        ({"kind": Kind.MISSING}, "ok", "made when it is needed"),
        ({"kind": Kind.MISSING, "can_be_made": False}, "error", "cannot be made"),
        ({"kind": Kind.HIDDEN, "problem": "Permission denied"}, "error", "Permission denied"),
        ({"kind": Kind.OTHER}, "error", "not a directory"),
        ({"uid": 0}, "error", "id 0"),
        ({"mode": 0o000}, "error", "may not read"),
        ({"mode": 0o500}, "error", "0500"),
        ({"mode": 0o750}, "error", "open to others"),
        ({"mode": 0o755, "empty": True}, "info", "the daemon closes it"),
        ({"mode": 0o755, "name": "config"}, "ok", "0755"),
        ({"mode": 0o775, "name": "config"}, "error", "others may write"),
    ],
)
def test_a_directory_must_exist_be_ours_and_be_closed(change: dict[str, Any], severity: str, word: str) -> None:
    place = replace(Place("data", DATA, Kind.DIRECTORY, ME, 0o700), **change)
    one = found(places.judge_place(place, ME), f"directories.{place.name}")
    assert (one.severity, word in one.what) == (severity, True), one


@pytest.mark.req("SE-1")
def test_files_that_are_open_foreign_or_unreadable_are_counted_and_named() -> None:
    many = tuple(f"/d/{n}" for n in range(5))
    private = places.Private(DATA, 7, open_to_others=many, of_others=("/d/x",), unreadable=("/d/y",))
    judged = places.judge_private(private, ME)
    assert [f.severity for f in judged] == ["error", "error", "warning"]
    assert "/d/0, /d/1, /d/2 and 2 more" in judged[2].what
    for one in judged:
        assert_a_shell_understands(one)
    assert (
        found(places.judge_private(places.Private(DATA, 7, complete=False), ME), "directories.files").severity == "ok"
    )


def test_the_paths_of_sockets_must_fit() -> None:
    length = limits.SOCKET_PATH_BYTES_MAX
    assert found(places.judge_sockets(places.Sockets("/s", length)), "directories.socket").severity == "ok"
    assert found(places.judge_sockets(places.Sockets("/s", length + 1)), "directories.socket").severity == "error"
    moved = places.judge_sockets(places.Sockets("/s", 2, moved_from="/long", keepers_moved=True))
    assert [f.severity for f in moved] == ["info", "info"]


def test_wrong_settings_are_an_error_and_odd_ones_a_warning() -> None:
    right = places.Settings("/c/settings.json", exists=True)
    assert found(places.judge_settings(right), "config.settings").severity == "ok"
    odd = replace(right, warnings=("unknown key",))
    assert found(places.judge_settings(odd), "config.settings").severity == "warning"
    wrong = found(places.judge_settings(replace(right, problem="line 2", hint="Mend it.")), "config.settings")
    assert (wrong.severity, wrong.what) == ("error", "line 2 Mend it.")


@pytest.mark.req("SQ-9")
@pytest.mark.parametrize(
    "change, severity",
    [
        ({}, "ok"),
        ({"free": limits.DISK_LOW_BYTES - 1}, "warning"),
        ({"free": limits.DISK_FULL_BYTES - 1}, "error"),
        ({"free": 0}, "error"),
        ({"files": limits.DISK_LOW_FILES - 1}, "warning"),
        ({"files": limits.DISK_FULL_FILES - 1}, "error"),
        ({"files": None}, "ok"),
        ({"read_only": True}, "error"),
    ],
)
def test_little_room_is_a_warning_and_none_an_error(change: dict[str, Any], severity: str) -> None:
    room = replace(Room("data", DATA, free=2**40, total=2**41, files=10**6), **change)
    assert found(places.judge_room(room), "disk.data").severity == severity


@pytest.mark.req("SQ-1")
@pytest.mark.parametrize(
    "kind, severity", [("ext4", "ok"), ("nfs4", "error"), ("fuse.sshfs", "error"), ("tmpfs", "warning"), ("", "ok")]
)
def test_a_network_file_system_is_an_error_and_memory_a_warning(kind: str, severity: str) -> None:
    assert found(places.judge_filesystem(kind, DATA), "disk.filesystem").severity == severity


def test_the_file_system_of_a_path_is_that_of_the_longest_and_latest_mount() -> None:
    mounts = [("/", "ext4"), ("/home", "xfs"), ("/home/me", "nfs4"), ("/home/me", "btrfs")]
    kinds = [places.longest_mount(path, mounts) for path in ("/", "/home/you", "/home/me/x", "/homes", "/home/me")]
    assert kinds == ["ext4", "xfs", "btrfs", "ext4", "btrfs"]
    assert places.longest_mount("/x", []) == ""


@pytest.mark.parametrize("year, severity", [(1970, "error"), (2026, "ok"), (2100, "ok"), (2101, "error"), (0, "error")])
def test_a_clock_in_an_impossible_year_is_an_error(year: int, severity: str) -> None:
    judged = places.judge_clock(places.Times(1e300 if year == 0 else 0.0, year))
    assert found(judged, "clock.wall").severity == severity


def test_files_from_the_future_are_a_warning() -> None:
    times = places.Times(1.8e9, 2027, ahead_path="/d/x", ahead_s=4000.0, ahead_count=2)
    one = found(places.judge_clock(times), "clock.files")
    assert (one.severity, "4,000 s (/d/x)" in one.what) == ("warning", True)
