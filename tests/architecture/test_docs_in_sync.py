"""The generated pages say what the code does, and the two catalogues they list hold nothing that is not used.

A code or limit that nothing uses yet stands in a list here. The lists must match exactly, so they can only shrink.
"""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from betcode.keeper import limits as keeper_limits
from betcode.model import admission_limits
from betcode.model import limits as model_limits
from betcode.model.errors import CODES

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src/betcode"
GENERATED = {"protocol.md", "protocol.schema.json", "errors.md", "limits.md", "settings.md", "metrics.md"} | {
    "failures.md",
    "recovery.md",
    "compatibility.md",
}

UNUSED_CODES: set[str] = set()
UNUSED_LIMITS: set[str] = set()
UNUSED_KEEPER_LIMITS: set[str] = set()
UNITS = {"KIB", "MIB"}
"""In the keeper's file, for its other lines."""

CODE_PLACES = {"BetcodeError": 0, "Refused": 0, "exit_status": 0, "refuse": 1, "notice": 1, "Refuse": 1}
"""Functions that are given a code, and which of their arguments it is; `code=` counts everywhere."""


def generate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools/generate_docs.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def product_files(*, without: str) -> Iterator[tuple[str, str]]:
    """Path and text of the product's files; its test tools and the catalogue itself do not count as use."""
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if name != without and not name.startswith("testing/"):
            yield name, path.read_text("utf-8")


# --- generated pages ------------------------------------------------------------------------------------------------


def test_the_generated_pages_are_up_to_date() -> None:
    run = generate("--check")
    assert run.returncode == 0, run.stderr


def test_a_page_that_is_stale_or_missing_is_named_and_written_again(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    assert generate("--into", str(docs)).returncode == 0
    assert {path.name for path in docs.iterdir()} == GENERATED
    before = {path.name: path.read_bytes() for path in docs.iterdir()}
    (docs / "errors.md").write_bytes(before["errors.md"] + b" ")
    (docs / "limits.md").unlink()

    run = generate("--check", "--into", str(docs))
    assert run.returncode == 1
    assert {name for name in GENERATED if name in run.stderr} == {"errors.md", "limits.md"}
    assert not (docs / "limits.md").exists(), "--check writes nothing"

    assert generate("--into", str(docs)).returncode == 0
    assert {path.name: path.read_bytes() for path in docs.iterdir()} == before


def test_a_limit_without_a_reason_is_refused(tmp_path: Path) -> None:
    """On a copy: the generator reads the sources, so what it refuses must be planted in them."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "docs").mkdir()
    with (tmp_path / "src/betcode/keeper/limits.py").open("a") as file:
        file.write("\nSURPRISES_MAX = 3\n")
    command = [sys.executable, str(tmp_path / "tools/generate_docs.py")]
    environment = {"PYTHONPATH": str(tmp_path / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode != 0
    assert "no reason is given for SURPRISES_MAX" in run.stderr


def test_every_generated_page_begins_with_how_it_is_made() -> None:
    for name in GENERATED - {"protocol.schema.json"}:
        first = (ROOT / "docs" / name).read_text("utf-8").partition("\n")[0]
        assert first.startswith("<!-- Generated from "), name
        assert "`make docs`" in first, name


# --- error codes ----------------------------------------------------------------------------------------------------


def codes_given(source: str) -> set[str]:
    """Codes that are handed to an error, a refusal or a notice that is more than information."""
    given: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            heirs = {base.id for base in node.bases if isinstance(base, ast.Name)} & {"BetcodeError", "StoreError"}
            calls = [c for c in ast.walk(node) if isinstance(c, ast.Call) and ast.unparse(c.func) == "super().__init__"]
            given |= {text for call in calls if heirs for text in _texts(call.args[0])}
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            place = CODE_PLACES.get(name)
            if name == "notice" and node.args and _texts(node.args[0]) == {"info"}:
                continue
            if place is not None and len(node.args) > place:
                given |= _texts(node.args[place])
            given |= {t for k in node.keywords if k.arg == "code" and name in CODE_PLACES for t in _texts(k.value)}
    return given


def _texts(node: ast.expr) -> set[str]:
    """The texts that an expression can be, as far as they stand there."""
    if isinstance(node, ast.IfExp):
        return _texts(node.body) | _texts(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def texts_made(source: str) -> set[str]:
    """All texts in the code of a file, without those that something is only compared with."""
    tree = ast.parse(source)
    compared = {id(n) for c in ast.walk(tree) if isinstance(c, ast.Compare) for n in ast.walk(c)}
    return {text for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in compared for text in _texts(n)}


def test_every_code_that_is_given_is_in_the_catalogue() -> None:
    unknown = {
        f"{name}: {code}"
        for name, source in product_files(without="model/errors.py")
        if not name.startswith("keeper/")  # stands apart: its codes concern the daemon only
        for code in codes_given(source) - CODES.keys()
    }
    assert not unknown


def test_every_code_of_the_catalogue_can_happen() -> None:
    made = {text for _, source in product_files(without="model/errors.py") for text in texts_made(source)}
    assert CODES.keys() - made == UNUSED_CODES, "use it, take it out of the catalogue, or out of UNUSED_CODES"


@pytest.mark.parametrize(
    "source, codes",
    [
        ("raise BetcodeError('a.b', 'm', hint='h')", {"a.b"}),
        ("raise errors.BetcodeError('a.b' if x else 'c.d', 'm', hint='h')", {"a.b", "c.d"}),
        ("draft.refuse(ticket, 'a.b', 'm', 'h')", {"a.b"}),
        ("draft.notice('warning', 'a.b', 'm')", {"a.b"}),
        ("draft.notice('info', 'a.b', 'm')", set()),
        ("BetcodeError(code='a.b')", {"a.b"}),
        ("class X(BetcodeError):\n    def __init__(self):\n        super().__init__('a.b', 'm', hint='h')", {"a.b"}),
        ("class X(Other):\n    def __init__(self):\n        super().__init__('a.b', 'm', hint='h')", set()),
        ("log.info('a.b')", set()),
    ],
)
def test_codes_are_found_where_they_are_given(source: str, codes: set[str]) -> None:
    assert codes_given(source) == codes


def test_a_code_that_something_is_only_compared_with_does_not_happen() -> None:
    assert texts_made("if error.code in ('a.b', 'c.d'):\n    fail('e.f')") == {"e.f"}


# --- limits ---------------------------------------------------------------------------------------------------------


def limits_used(source: str, module: str) -> set[str]:
    """Names of `module` (such as betcode.model.limits) that a file uses."""
    package, _, last = module.rpartition(".")
    tree = ast.parse(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    used = {alias.name for node in imports if node.module == module for alias in node.names}
    bound = {a.asname or a.name for node in imports if node.module == package for a in node.names if a.name == last}
    return used | {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in bound
    }


@pytest.mark.parametrize(
    "module, unused",
    [(model_limits, UNUSED_LIMITS), (admission_limits, set()), (keeper_limits, UNUSED_KEEPER_LIMITS)],
    ids=["model", "admission", "keeper"],
)
@pytest.mark.req("INV-8")
def test_every_limit_holds_somewhere(module: object, unused: set[str]) -> None:
    name = getattr(module, "__name__", "")
    own = name.removeprefix("betcode.").replace(".", "/") + ".py"
    used = {limit for _, source in product_files(without=own) for limit in limits_used(source, name)}
    listed = {limit for limit in vars(module) if limit.isupper()} - UNITS
    assert listed - used == unused, "use it, take it out, or take it out of the list of unused ones here"


@pytest.mark.parametrize(
    "source, used",
    [
        ("from betcode.model import limits\nx = limits.A_MAX", {"A_MAX"}),
        ("from betcode.model import limits as l\nx = l.A_MAX", {"A_MAX"}),
        ("from betcode.model.limits import A_MAX\nx = A_MAX", {"A_MAX"}),
        ("from betcode.testing import limits\nx = limits.A_MAX", set()),
        ("'see limits.A_MAX'", set()),
    ],
)
def test_the_use_of_a_limit_is_found(source: str, used: set[str]) -> None:
    assert limits_used(source, "betcode.model.limits") == used
