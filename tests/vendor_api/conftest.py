"""A workspace of its own for each test, and one of each thing in it.

A folder's conftest is read before Django is set up, so what imports models is imported by the fixtures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.vendor_api.door import Door
    from tests.vendor_api.shop import Shop


@pytest.fixture
def door(db: None) -> Door:
    """A backend with a key that may do everything."""
    from tests.vendor_api.door import Door

    return Door()


@pytest.fixture
def shop(door: Door) -> Shop:
    """One of each thing, made through the door."""
    from tests.vendor_api.shop import Shop

    return Shop(door)
