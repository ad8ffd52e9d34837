from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores import make_var_dir, remove_var_dir


@pytest.fixture
def var_dir() -> Iterator[Path]:
    folder = make_var_dir()
    yield folder
    remove_var_dir(folder)
