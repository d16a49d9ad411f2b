"""Puts the settings together (CF-1). The first of these that gives a value decides:

  1. flags              of the command
  2. environment        BETCODE_<SECTION>_<KEY>, and BETCODE_CLAUDE for agent.claude; an empty variable counts as unset
  3. project local      PROJECT/.betcode/settings.local.json
  4. project            PROJECT/.betcode/settings.json
  5. user               settings.json in the configuration directory
  6. defaults           of `tree`

Every source is checked whole, also where a stronger one decides, and everything that is wrong is told at once. Project
files may give only what `tree` marks so. They speak about the sessions of their directory: the daemon itself loads
without a project, and again with one for each new session.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from betcode.config import settings_file
from betcode.config.paths import DIRECTORY_VARIABLES, Paths
from betcode.config.settings import ALIASES, NotAllowedError, build, nearest, settings, shown
from betcode.config.settings_file import Problem, not_allowed
from betcode.config.tree import Config
from betcode.model.errors import BetcodeError

PROJECT_FOLDER = ".betcode"
UNKNOWN_VARIABLES_MAX = 20
"""Warned of; an environment with more has another meaning for BETCODE_."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value comes from: `name` is flag, environment, project local, project, user or default."""

    name: str
    path: Path | None = None
    line: int | None = None
    variable: str | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, the source of each key, and what the user should hear."""

    config: Config
    sources: dict[str, Source]
    warnings: list[str]


DEFAULT = Source("default")


class InvalidError(BetcodeError):
    """`config.invalid` with everything that is wrong, in pieces, and what would have been warned of."""

    def __init__(self, problems: list[Problem], warnings: list[str]) -> None:
        """`problems` is not empty."""
        if len(problems) == 1:
            text, hint = problems[0].text, problems[0].hint
        else:
            text = "\n".join([f"{len(problems)} problems in the configuration:", *(f"  {p.text}" for p in problems)])
            defaults = {p.key: p.default for p in problems if p.default}
            known = ", ".join(f"{key} {default}" for key, default in defaults.items())
            hints = [f"Change or remove them; the defaults are {known}."] if defaults else []
            hint = " ".join(dict.fromkeys([*hints, *(p.hint for p in problems if not p.default)]))
        super().__init__("config.invalid", text, hint=hint)
        self.problems = problems
        self.warnings = warnings


def load(*, flags: Mapping[str, object], env: Mapping[str, str], project_dir: Path | None, paths: Paths) -> Loaded:
    """Read everything. Raises InvalidError with all problems, and config.insecure.

    Args:
        flags: by key such as `daemon.log_level`; None means that the flag was not given. ValueError for an unknown key:
            that is a defect of the command. Text is converted as in the environment.
        env: the process's variables.
        project_dir: directory of the session, or None.
        paths: only `settings` is used.
    """
    values: dict[str, object] = {}
    sources = dict.fromkeys(settings(), DEFAULT)
    problems: list[Problem] = []
    warnings: list[str] = []
    for name, path, is_project in _files(project_dir, paths):
        findings = settings_file.read(path, is_project=is_project)
        problems += findings.problems
        warnings += findings.warnings
        for key, found in findings.values.items():
            values[key] = found.value
            sources[key] = Source(name, path, found.line)
    for key, variable in _variables(env, warnings).items():
        try:
            values[key] = settings()[key].parse(env[variable])
        except NotAllowedError:
            problems.append(not_allowed(variable, key, env[variable]))
        sources[key] = Source("environment", variable=variable)
    for key, value in flags.items():
        if key not in settings():
            raise ValueError(f"there is no setting {key!r}")
        if value is None:
            continue
        text = os.fspath(value) if isinstance(value, os.PathLike) else value
        try:
            values[key] = settings()[key].parse(text) if isinstance(text, str) else settings()[key].convert(text)
        except NotAllowedError:
            problems.append(not_allowed("command line", key, text))
        sources[key] = Source("flag")
    if problems:
        raise InvalidError(problems, warnings)
    return Loaded(build(values), sources, warnings)


def _files(project_dir: Path | None, paths: Paths) -> list[tuple[str, Path, bool]]:
    """Settings files, the weakest first."""
    files = [("user", paths.settings, False)]
    if project_dir is not None:
        folder = project_dir / PROJECT_FOLDER
        files += [("project", folder / "settings.json", True), ("project local", folder / "settings.local.json", True)]
    return files


def _variables(env: Mapping[str, str], warnings: list[str]) -> dict[str, str]:
    """Which variable gives which key."""
    by_name = {setting.variable: key for key, setting in settings().items()}
    ours = sorted(name for name, value in env.items() if name.startswith("BETCODE_") and value)
    chosen = {by_name[name]: name for name in ours if name in by_name}
    for name, key in ALIASES.items():
        if env.get(name):
            if key in chosen and env[chosen[key]] != env[name]:
                warnings.append(f"{name} and {chosen[key]} differ; {name} counts")
            chosen[key] = name
    unknown = [name for name in ours if name not in by_name and name not in ALIASES and name not in DIRECTORY_VARIABLES]
    for name in unknown[:UNKNOWN_VARIABLES_MAX]:
        section, _, rest = name.removeprefix("BETCODE_").lower().partition("_")
        guess = nearest(f"{section}.{rest}")
        warnings.append(
            f"unknown variable {shown(name)}" + (f"; did you mean {settings()[guess].variable}?" if guess else "")
        )
    if (more := len(unknown) - UNKNOWN_VARIABLES_MAX) > 0:
        warnings.append(f"{more} more unknown variables BETCODE_*")
    return chosen
