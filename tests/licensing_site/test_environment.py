from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from licensing_site.environment import Sources, celery_url, database_settings


def test_secret__variable_with_file__is_the_files_content(var_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = var_dir / "key"
    file.write_text("from-a-file\n")
    monkeypatch.delenv("SECRET_KEY")
    monkeypatch.setenv("SECRET_KEY_FILE", str(file))
    assert Sources(var_dir=var_dir, production=True).secret("SECRET_KEY", key="x", default="d") == "from-a-file"


def test_secret__nothing_given_in_production__names_the_variable(
    var_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SECRET_KEY")
    with pytest.raises(ImproperlyConfigured, match="Set SECRET_KEY or SECRET_KEY_FILE"):
        Sources(var_dir=var_dir, production=True).secret("SECRET_KEY", key="secret_key", default="d")


def test_address__running_stack__is_what_it_published(var_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (var_dir / "stack.json").write_text(json.dumps({"database_url": "postgresql:///published"}))
    monkeypatch.delenv("DATABASE_URL")
    sources = Sources(var_dir=var_dir, production=False)
    assert sources.address("DATABASE_URL", key="database_url", default="d") == "postgresql:///published"
    monkeypatch.setenv("DATABASE_URL", "postgresql:///given")
    assert sources.address("DATABASE_URL", key="database_url", default="d") == "postgresql:///given"


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_address__unreadable_file_of_a_stack__is_the_default(
    var_dir: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    (var_dir / "stack.json").write_text(content)
    monkeypatch.delenv("DATABASE_URL")
    assert Sources(var_dir=var_dir, production=False).address("DATABASE_URL", key="database_url", default="d") == "d"


def test_database_settings__socket_url__has_no_pool_unless_asked() -> None:
    entry = database_settings("postgresql://permeter@/permeter?host=%2Ftmp%2Fx", pool_size=None)
    assert entry["USER"] == entry["NAME"] == "permeter"
    assert entry["HOST"] == ""
    assert entry["OPTIONS"] == {"host": "/tmp/x", "connect_timeout": 3, "prepare_threshold": 5}
    assert entry["CONN_MAX_AGE"] == 0
    assert database_settings("postgresql:///x", pool_size=4)["OPTIONS"]["pool"]["max_size"] == 4


def test_database_settings__prepare_threshold_of_zero__turns_prepared_statements_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_PREPARE_THRESHOLD", "0")
    assert database_settings("postgresql:///x", pool_size=None)["OPTIONS"]["prepare_threshold"] is None


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("redis://cache:6379/2", "redis://cache:6379/2"),
        ("unix:///tmp/v.sock?db=3", "redis+socket:///tmp/v.sock?virtual_host=3"),
        ("unix:///tmp/v.sock", "redis+socket:///tmp/v.sock?virtual_host=0"),
    ],
)
def test_celery_url__of_a_valkey_url__is_the_brokers_spelling(url: str, broker: str) -> None:
    assert celery_url(url) == broker
