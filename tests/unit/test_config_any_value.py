"""Whatever a file or variable holds: it loads, or it is refused in words. Nothing else."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from betcode.config import scan
from betcode.config.load import Loaded, load
from betcode.config.paths import Paths
from betcode.config.settings import Setting, settings, value_of
from betcode.model.errors import BetcodeError

CHARACTERS = st.characters()  # half surrogate pairs and control characters included
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(CHARACTERS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(CHARACTERS), inner, max_size=4),
    max_leaves=8,
)
SETTING = st.sampled_from(list(settings().values()))
NEAR_BOUNDS = SETTING.flatmap(
    lambda s: st.tuples(st.just(s), st.integers(int(s.meta.ge or 0) - 2, int(s.meta.le or 2) + 2))
)
PIECES = st.sampled_from([*'{}[]":,\\ \nu0N-', '"daemon"', '"messages_waiting_max"', "NaN"])
INDENT = st.sampled_from([None, 0, 3])


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def outcome(root: Path, env: dict[str, str]) -> Loaded | BetcodeError:
    """What came of loading; anything but these two is an error of the test."""
    try:
        return load(flags={}, env=env, project_dir=None, paths=Paths(config=root, data=root, runtime=root))
    except BetcodeError as e:
        return e


def check(setting: Setting, found: Loaded | BetcodeError) -> None:
    """A value that is refused is refused by its name; one that is accepted is within its range."""
    if isinstance(found, BetcodeError):
        assert found.code == "config.invalid"
        assert setting.key in str(found)
        assert setting.default_text in found.hint
        assert str(found).isprintable()
        return
    value = value_of(found.config, setting.key)
    assert found.sources[setting.key].name != "default"
    if setting.meta.ge is not None and setting.meta.le is not None:
        assert isinstance(value, int | float)
        assert setting.meta.ge <= value <= setting.meta.le
        assert type(value) is setting.kind


@pytest.mark.req("CF-1")
@given(st.tuples(SETTING, JSON) | NEAR_BOUNDS, INDENT)
def test_any_json_value_loads_or_is_refused_by_the_name_of_its_key(
    root: Path, case: tuple[Setting, object], indent: int | None
) -> None:
    setting, value = case
    (root / "settings.json").write_text(json.dumps({setting.section: {setting.name: value}}, indent=indent))
    check(setting, outcome(root, {}))


@pytest.mark.req("CF-1")
@given(SETTING, st.text(CHARACTERS, min_size=1))
@example(settings()["daemon.connections_max"], "\ud800")
@example(settings()["daemon.log_level"], "\x7f")
def test_any_text_in_a_variable_loads_or_is_refused_by_the_name_of_its_key(
    root: Path, setting: Setting, text: str
) -> None:
    (root / "settings.json").write_text("{}")
    check(setting, outcome(root, {setting.variable: text}))


@pytest.mark.req("CF-1")
@given(st.binary() | st.lists(PIECES).map("".join))
def test_any_bytes_load_or_are_refused_with_the_name_of_the_file(root: Path, content: bytes | str) -> None:
    path = root / "settings.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = outcome(root, {})
    if isinstance(found, BetcodeError):
        assert found.code == "config.invalid"
        assert str(path) in str(found)


@pytest.mark.req("CF-1")
@given(st.dictionaries(st.text(CHARACTERS), JSON, max_size=5), INDENT, st.booleans())
def test_every_member_is_found_where_it_stands(value: dict[str, object], indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    found = scan.members(text)
    assert {m.key: m.value for m in found} == value
    lines = text.split("\n")
    for member in found:
        at = scan.place(text, member.key_at)
        assert lines[at.line - 1][at.column - 1 :].startswith(json.dumps(member.key, ensure_ascii=ascii_only))
        assert text.startswith(json.dumps(member.key, ensure_ascii=ascii_only), member.key_at)
        if isinstance(member.value, dict):
            assert {m.key: m.value for m in scan.inner(text, member)} == member.value
