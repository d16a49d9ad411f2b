"""What is kept of a run: its findings and a few lines of each version, in `tests/recordings/versions`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from betcode.testing.compat import table
from betcode.testing.compat.seen import Findings, Seen
from betcode.testing.compat.wheels import Fetched

FOLDER = Path("tests/recordings/versions")
RESULTS = "results.json"
HOME = "/home/ada"
"""What stands in a recording for the folder of the run."""
LIST_KEPT = 2
"""Of a long list in a recording, such as all commands of the CLI, so many members."""
LISTS = frozenset(
    {"tools", "commands", "agents", "models", "slash_commands", "skills", "plugins", "terminal_sequences"}
)
"""Members of `initialize` and `system/init` that are cut."""

Results = dict[str, dict[str, Any]]
"""Version -> {"wheel": its package, "seen": {row: [ok, note]}}."""


class Kept:
    """The stored findings of all versions."""

    def __init__(self, root: Path) -> None:
        """`root`: of the repository."""
        self._folder = root / FOLDER
        self._page = root / "docs" / table.PAGE

    def results(self) -> Results:
        """What is stored, oldest version first."""
        path = self._folder / RESULTS
        found: Results = json.loads(path.read_text()) if path.exists() else {}
        return dict(sorted(found.items(), key=lambda item: numbers(item[0])))

    def store(self, fetched: Fetched, found: Findings, lines: Mapping[str, Sequence[bytes]]) -> None:
        """Replace what is stored of one version."""
        results = self.results()
        seen = {row: [one.ok, one.note] for row, one in sorted(found.items())}
        results[fetched.version] = {"wheel": fetched.wheel, "seen": seen}
        self._folder.mkdir(parents=True, exist_ok=True)
        ordered = dict(sorted(results.items(), key=lambda item: numbers(item[0])))
        (self._folder / RESULTS).write_text(json.dumps(ordered, indent=1) + "\n")
        folder = self._folder / fetched.version
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, raw in lines.items():
            (folder / f"{name}.ndjson").write_bytes(b"".join(line + b"\n" for line in raw))

    def write_table(self) -> None:
        """Write the page again."""
        self._page.write_text(table.render(self.results()))


def findings(stored: Mapping[str, Any]) -> Findings:
    """Of one version, as they were stored."""
    return {row: Seen(bool(ok), str(note)) for row, (ok, note) in stored["seen"].items()}


def numbers(version: str) -> tuple[int, ...]:
    """For comparing."""
    return tuple(int(part) for part in version.split("."))


def trimmed(lines: Sequence[bytes], folder: Path) -> list[bytes]:
    """The lines without the machine that they came from, with long lists cut. What is no JSON stays as it is."""
    return [
        _trim(line.replace(str(folder).encode(), HOME.encode()).replace(_slug(folder), _slug(Path(HOME))))
        for line in lines
    ]


def _slug(folder: Path) -> bytes:
    """A path as the CLI uses it for a folder's name."""
    return "".join(c if c.isalnum() else "-" for c in str(folder)).encode()


def _trim(line: bytes) -> bytes:
    try:
        value = json.loads(line)
    except ValueError:
        return line
    return json.dumps(_cut(value), ensure_ascii=False, separators=(",", ":")).encode()


def _cut(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _cut(member, key) for key, member in value.items()}
    if isinstance(value, list):
        return [_cut(member) for member in (value[:LIST_KEPT] if name in LISTS else value)]
    return value
