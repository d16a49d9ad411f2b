"""One installation for all tests of a module, and its commands; a module whose tests need one each has its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from betcode.testing.command import Command
from betcode.testing.installation import Installation, installation


@pytest.fixture(scope="module")
def made() -> Iterator[Installation]:
    with installation() as one:
        yield one


@pytest.fixture(scope="module")
def betcode(made: Installation) -> Command:
    return Command(made.env, made.project)
