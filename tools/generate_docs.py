"""Writes the generated pages of docs/; with --check it writes nothing, names each that is stale, and then exits 1."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `tools`, from whatever directory this is called

from tools.docs import compatibility, errors, failures, limits, metrics, protocol, recovery, schema, settings
from tools.docs.markdown import COMMAND

from betcode.testing.compat import table

DOCS = Path(__file__).resolve().parents[1] / "docs"

PAGES: dict[str, Callable[[], str]] = {
    "protocol.md": protocol.render,
    "protocol.schema.json": schema.render,
    "errors.md": errors.render,
    "failures.md": failures.render,
    "limits.md": limits.render,
    "settings.md": settings.render,
    "metrics.md": metrics.render,
    "recovery.md": recovery.render,
    table.PAGE: compatibility.render,
}


def main(argv: Sequence[str]) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is not up to date")
    parser.add_argument("--into", type=Path, default=DOCS, metavar="DIR", help="another place than docs/")
    options = parser.parse_args(argv)
    pages = rendered()
    stale = [name for name, text in pages.items() if read(options.into / name) != text]
    if not options.check:
        for name in stale:
            (options.into / name).write_text(pages[name], "utf-8", newline="\n")
            print(f"written: {options.into / name}")
        return 0
    for name in stale:
        print(f"not up to date: {options.into / name}; `{COMMAND}` writes it again", file=sys.stderr)
    return 1 if stale else 0


def rendered() -> dict[str, str]:
    """File name -> what it should hold."""
    return {name: render() for name, render in PAGES.items()}


def read(path: Path) -> str | None:
    """What the file holds now; None when there is none."""
    return path.read_bytes().decode("utf-8", "replace") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
