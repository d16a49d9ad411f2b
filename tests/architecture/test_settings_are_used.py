"""A setting that nothing reads promises what the program does not do."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

import betcode
from betcode.config.settings import Setting, build, settings
from betcode.daemon.policy import policy_of
from betcode.model.policy import DEFAULT, Policy

SOURCE = Path(betcode.__file__).parent


@pytest.mark.req("CF-1")
def test_every_setting_is_read_somewhere() -> None:
    files = [f for f in SOURCE.rglob("*.py") if "config" not in f.relative_to(SOURCE).parts[:1]]
    text = "\n".join(f.read_text() for f in files)
    unread = [s.key for s in settings().values() if not re.search(rf"\b({s.section}|settings|agent)\.{s.name}\b", text)]
    assert unread == []


@pytest.mark.req("CF-1")
def test_every_field_of_the_policy_comes_from_a_setting_and_is_looked_at() -> None:
    others = {s.key: other(s) for s in settings().values()}
    policy = policy_of(build({key: value for key, value in others.items() if value is not None}))
    same = [f.name for f in fields(Policy) if getattr(policy, f.name) == getattr(DEFAULT, f.name)]
    assert same == []
    text = "\n".join(f.read_text() for part in ("core", "engine") for f in (SOURCE / part).rglob("*.py"))
    assert [f.name for f in fields(Policy) if not re.search(rf"policy\.{f.name}\b", text)] == []


def other(setting: Setting) -> object:
    """A value in range that is not the default; None for what is neither a number nor a choice."""
    choices = [c for c in get_args(setting.kind) if isinstance(c, str)]
    if choices:
        return next(c for c in choices if c != setting.default)
    low, high = setting.meta.ge, setting.meta.le
    if low is None or high is None:
        return None
    return setting.convert(high if setting.default != high else low)
