from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from licensing_site.environment import BASE_DIR

PRODUCTION = {
    "PATH": os.environ["PATH"],
    "PERMETER_ENV": "production",
    "SECRET_KEY": "Vb3-long-and-random-enough-for-a-check-0123456789-abcdefghijklmnopqrstuvwxyz",
    "PERMETER_KEY_PEPPERS": "1=pepper",
    "PERMETER_ENCRYPTION_KEYS": "b25seS1mb3ItdGVzdHMtMDEyMzQ1Njc4OWFiY2RlZmc=",
    "DATABASE_URL": "postgresql://permeter@db.invalid/permeter",
    "REDIS_URL": "redis://valkey.invalid:6379/0",
    "ALLOWED_HOSTS": "permeter.example",
}


def manage(*command: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *command], cwd=BASE_DIR, env=env, capture_output=True, text=True, check=False
    )


def test_check_deploy__production_settings__are_clean() -> None:
    result = manage("check", "--deploy", "--fail-level", "WARNING", env=PRODUCTION)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "System check identified no issues (0 silenced).\n"


@pytest.mark.parametrize(
    "name", ["SECRET_KEY", "PERMETER_KEY_PEPPERS", "PERMETER_ENCRYPTION_KEYS", "DATABASE_URL", "REDIS_URL"]
)
def test_check__production_without_a_secret_or_address__names_it(name: str) -> None:
    result = manage("check", env={key: value for key, value in PRODUCTION.items() if key != name})
    assert result.returncode == 1
    assert f"Set {name} or {name}_FILE" in result.stderr


def test_check__unknown_environment__is_refused() -> None:
    result = manage("check", env={**PRODUCTION, "PERMETER_ENV": "staging"})
    assert "PERMETER_ENV is quickstart, test or production" in result.stderr


def test_beat_schedule__every_entry__is_a_task_that_exists() -> None:
    from django.conf import settings

    from licensing_site.celery import app

    app.loader.import_default_modules()
    assert {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()} - set(app.tasks) == set()


@pytest.mark.parametrize(
    ("longest", "pauses"),
    [
        ({}, [1, 20, 3600]),
        ({"PERMETER_LONGEST_ROUND_SECONDS": "20"}, [1, 20, 20]),
        ({"PERMETER_LONGEST_ROUND_SECONDS": "19.5"}, [1, 19.5, 19.5]),
        ({"PERMETER_LONGEST_ROUND_SECONDS": "0"}, [1, 1, 1]),
    ],
)
def test_beat_schedule__longest_round_set__shortens_longer_ones_to_a_second_at_least(
    longest: dict[str, str], pauses: list[float]
) -> None:
    script = (
        "import json; from licensing_site.schedule import BEAT_SCHEDULE as all;"
        "print(json.dumps([all[name]['schedule'] for name in"
        " ('tenants.seal_audit', 'metering.roll_up_usage', 'metering.purge_imports')]))"
    )
    shown = subprocess.run([sys.executable, "-c", script], cwd=BASE_DIR, env=longest, capture_output=True, check=True)
    assert json.loads(shown.stdout) == pauses
