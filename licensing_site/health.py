"""Is it alive (`/livez`: this process answers), is it ready (`/readyz`: its stores answer too)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import redis
import structlog
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

log = structlog.get_logger(__name__)


@never_cache
@require_safe
def livez(_request: HttpRequest) -> HttpResponse:
    """Answers as long as the process does; asks no store, so that a store's outage restarts no web process."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when PostgreSQL and Valkey answer, else a 503 problem that says which does not."""
    checks = check_stores()
    if all(checks.values()):
        return JsonResponse({"status": "ok", "checks": dict.fromkeys(checks, "ok")})
    down = ", ".join(name for name, passed in checks.items() if not passed)
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": f"No answer from: {down}.",
        "code": "store_unreachable",
        "request_id": getattr(request, "request_id", ""),
        "errors": [],
        "checks": {name: "ok" if passed else "unreachable" for name, passed in checks.items()},
    }
    return JsonResponse(problem, status=503, content_type="application/problem+json", headers={"Retry-After": "1"})


def check_stores() -> dict[str, bool]:
    """Which store answers, by name."""
    return {name: _passes(name, check) for name, check in CHECKS.items()}


def _passes(name: str, check: Callable[[], object]) -> bool:
    try:
        check()
    except (DatabaseError, redis.RedisError) as error:
        log.warning("readiness.failed", store=name, error=type(error).__name__)
        return False
    return True


def _postgres() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


@cache
def _client() -> redis.Redis:
    """A connection pool of its own, so that a hot path that is out of connections does not look like an outage."""
    return redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=0.5, socket_timeout=0.5)


def _valkey() -> None:
    _client().ping()


CHECKS: dict[str, Callable[[], None]] = {"postgres": _postgres, "valkey": _valkey}
