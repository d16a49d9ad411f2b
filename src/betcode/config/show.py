"""What `betcode config show`, docs/settings.md and SIGHUP say about settings. Pure: the caller prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from betcode.config.load import Loaded, Source
from betcode.config.paths import path_text
from betcode.config.settings import Setting, settings, value_of, value_text
from betcode.config.settings_file import Problem
from betcode.config.tree import Config


@dataclass(frozen=True, slots=True)
class Row:
    """One line of `betcode config show`, as text."""

    key: str
    value: str
    source: str


class Changed(NamedTuple):
    """Keys whose value differs: those a running daemon takes, and those that wait for its next start."""

    reloadable: list[str]
    needs_restart: list[str]


def rows(loaded: Loaded) -> list[Row]:
    """Every setting with its value and source, in the order of the tree."""
    return [Row(key, value_text(value_of(loaded.config, key)), source_text(loaded.sources[key])) for key in settings()]


def source_text(source: Source) -> str:
    """A source for people: with file and line, or with the variable."""
    if source.path is not None:
        return f"{source.name} {path_text(source.path)}:{source.line}"
    return f"{source.name} {source.variable}" if source.variable else source.name


def problem_fields(problem: Problem) -> dict[str, object]:
    """A problem for programs; null where it has none of a field."""
    return {
        "file": problem.file or None,
        "line": problem.at.line if problem.at else None,
        "column": problem.at.column if problem.at else None,
        "key": problem.key or None,
        "value": problem.value or None,
        "range": problem.allowed or None,
        "message": problem.text,
        "hint": problem.hint,
    }


def changed(old: Config, new: Config) -> Changed:
    """What a reload means (RS-4)."""
    different = [key for key in settings() if value_of(old, key) != value_of(new, key)]
    return Changed(
        reloadable=[key for key in different if settings()[key].reload],
        needs_restart=[key for key in different if not settings()[key].reload],
    )


def reference() -> str:
    """docs/settings.md: the same on every machine."""
    return "\n".join([INTRODUCTION, *(_section(section) for section in _sections())])


INTRODUCTION = """\
# Settings

This page is generated from `src/betcode/config/tree.py`; `make docs` writes it again.

The first of these that gives a value decides:

1. flags;
2. environment variables `BETCODE_<SECTION>_<KEY>`, such as `BETCODE_DAEMON_LOG_LEVEL`, and `BETCODE_CLAUDE` for
   `agent.claude`; a list is separated by commas; an empty variable counts as unset;
3. `.betcode/settings.local.json` of the project;
4. `.betcode/settings.json` of the project;
5. `settings.json` in the configuration directory (`betcode config path` shows it);
6. the defaults.

A file holds one object for each section: `{"daemon": {"log_level": "debug"}}`. A value outside its range stops the
start with one clear line; an unknown key is warned of. Names end in their unit: `_s` is seconds.

*Reload*: a running daemon takes the new value on SIGHUP, the others at its next start. *Project*: a project's files may
set it; they come with a repository that may be hostile, so everything else in them is ignored, with a warning.
"""


def _sections() -> list[str]:
    return list(dict.fromkeys(setting.section for setting in settings().values()))


def _section(section: str) -> str:
    lines = [
        f"## {section}",
        "",
        "| key | type | range | default | meaning | reload | project |",
        "|---|---|---|---|---|---|---|",
        *(_line(setting) for setting in settings().values() if setting.section == section),
        "",
    ]
    return "\n".join(lines)


def _line(setting: Setting) -> str:
    cells = [
        f"`{setting.key}`",
        setting.type_text,
        setting.range_text,
        setting.default_text,
        setting.sentence,
        "yes" if setting.reload else "no",
        "yes" if setting.project else "no",
    ]
    assert not any("|" in cell for cell in cells), f"{setting.key}: a bar would break the table"
    return "| " + " | ".join(cells) + " |"
