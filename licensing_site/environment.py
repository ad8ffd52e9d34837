"""Where settings come from: the environment, `*_FILE` secrets, and what a running stack left in `VAR_DIR`."""

from __future__ import annotations

import json
import os
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from licensing_site.bounded_connection import bounded_connections

BASE_DIR = Path(__file__).resolve().parent.parent

#: Reads `NAME`, and where `NAME_FILE` is set instead, the contents of that file.
env = environ.FileAwareEnv()
env.ENVIRON = environ.fileaware_mapping.FileAwareMapping(cache=False)


def read_var_dir() -> Path:
    """The folder that holds all state of the embedded stack (`VAR_DIR`, default `var/` in the checkout)."""
    return Path(os.environ.get("VAR_DIR") or BASE_DIR / "var").absolute()


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no such file or it cannot be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


class Sources:
    """Settings looked up in order: environment, files of the stack under `VAR_DIR`, a default.

    In production only the environment counts, and what is missing is an error that names the variable.
    """

    def __init__(self, *, var_dir: Path, production: bool) -> None:
        self.production = production
        self._stack = {} if production else read_json(var_dir / "stack.json")
        self._secrets = {} if production else read_json(var_dir / "secrets.json")

    def address(self, name: str, *, key: str, default: str) -> str:
        """The URL of a server: `name` in the environment, else `key` of the running stack, else `default`."""
        return self._look_up(name, self._stack.get(key), default)

    def secret(self, name: str, *, key: str, default: str) -> str:
        """A secret: `name` (or `name_FILE`) in the environment, else `key` of the stack's generated ones."""
        return self._look_up(name, self._secrets.get(key), default)

    def _look_up(self, name: str, stored: Any, default: str) -> str:
        if value := str(env(name, default="")).strip():
            return value
        if self.production:
            raise ImproperlyConfigured(f"Set {name} or {name}_FILE: production has no default for it.")
        return str(stored) if stored else default


def database_settings(url: str, *, pool_size: int | None) -> dict[str, Any]:
    """Django's `DATABASES` entry for a PostgreSQL URL; a socket folder is given as `?host=/folder`.

    With `pool_size`, connections come from a psycopg pool of the process. Only the web processes ask for that: a pool
    does not survive the fork of a Celery worker.
    """
    config: dict[str, Any] = env.db_url_config(url)
    options = dict(config.get("OPTIONS") or {})
    options.setdefault("connect_timeout", 3)
    # Django turns prepared statements off unless told; a transaction-pooling proxy in front needs 0.
    threshold = env.int("DATABASE_PREPARE_THRESHOLD", default=5)
    options["prepare_threshold"] = threshold or None
    if pool_size:
        config["ENGINE"] = "licensing_site.pooled_postgresql"
        options["pool"] = {
            "min_size": 2,
            "max_size": pool_size,
            "timeout": 3,
            "name": "permeter",
            # Seconds that a web request waits for one answer of the database.
            "connection_class": bounded_connections(env.float("DATABASE_TIMEOUT", default=10.0)),
        }
    return {**config, "OPTIONS": options, "CONN_MAX_AGE": 0, "ATOMIC_REQUESTS": False}


def celery_url(url: str) -> str:
    """The Celery broker's spelling of a Valkey URL: `unix:///path?db=1` is `redis+socket:///path?virtual_host=1`."""
    if not url.startswith("unix://"):
        return url
    path, _, query = url.removeprefix("unix://").partition("?")
    database = dict(part.split("=", 1) for part in query.split("&") if "=" in part).get("db", "0")
    return f"redis+socket://{path}?virtual_host={database}"


def networks(entries: list[str]) -> list[str]:
    """CIDRs of a setting, without empty entries. Raises ImproperlyConfigured for what is none."""
    found = [entry.strip() for entry in entries if entry.strip()]
    for entry in found:
        try:
            ip_network(entry, strict=False)
        except ValueError:
            raise ImproperlyConfigured(f"{entry!r} is no network, such as 192.0.2.0/24.") from None
    return found


def is_command(*names: str) -> bool:
    """Whether this process is `manage.py NAME` for one of the names."""
    return len(sys.argv) > 1 and sys.argv[1] in names
