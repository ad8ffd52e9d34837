"""What every test can rely on: the real stores, and the fixtures of `stack_fixtures` for real server processes."""

from __future__ import annotations

import gc
import os

import pytest
from django.conf import settings

from licensing_site.embedded.postgres import DATABASE
from tests.order import in_order
from tests.stack_templates import fill, open_templates, remove_templates
from tests.stores import prepare_environment

# A browser that a test has driven leaves a running event loop behind in this thread, which Django would mind.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")

stores = prepare_environment()
_owns_templates = open_templates()

pytest_plugins = ["tests.stack_fixtures"]


def pytest_configure() -> None:
    # Loads the settings: only then does pytest-django, whose turn comes last, set Django up before tests import models.
    settings.DATABASES  # noqa: B018


def pytest_sessionstart(session: pytest.Session) -> None:
    if not session.config.option.collectonly and not _only_hands_out(session.config):
        if "PYTEST_XDIST_WORKER" in os.environ:
            # The workers of a run migrate one database, and each makes its own from that.
            fill(stores.var_dir, demo=False)
            settings.DATABASES["default"].setdefault("TEST", {})["TEMPLATE"] = DATABASE
        stores.start()


def pytest_collection_finish() -> None:
    # What is there now stays to the end: walking through it in every collection would take a sixth of the whole time.
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not _only_hands_out(config):
        stores.stop()
    if _owns_templates:
        remove_templates()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        items[:] = in_order(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    # A worker chooses its own servers, which it could not if it knew the settings before it reads this file.
    del os.environ["DJANGO_SETTINGS_MODULE"]


def _only_hands_out(config: pytest.Config) -> bool:
    """Whether the tests run in workers, and this is not one of them."""
    return bool(getattr(config.option, "numprocesses", None)) and not hasattr(config, "workerinput")


@pytest.fixture(autouse=True)
def _empty_valkey(request: pytest.FixtureRequest) -> None:
    """A test that uses the database begins with an empty Valkey, as it begins with empty tables."""
    if request.node.get_closest_marker("django_db") is not None:
        from common.valkey import valkey

        valkey().flushdb()
