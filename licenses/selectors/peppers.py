"""Under which peppers living keys are hashed, in all workspaces."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db.models import Count, Q, QuerySet

from licenses.domain.enums import AgentStatus, LicenseStatus
from licenses.models import AgentKey, License
from tenants.models import ApiKey


def living_keys_by_pepper(at: datetime) -> dict[str, dict[str, int]]:
    """How many agents' keys, API keys and licence keys need each pepper; `at` is real time."""
    unended = Q(revoked_at__isnull=True) & (Q(expires_at__isnull=True) | Q(expires_at__gt=at))
    counted = {
        "agent keys": _count(AgentKey.objects.filter(unended).exclude(agent__status=AgentStatus.REVOKED), "pepper_id"),
        "API keys": _count(ApiKey.objects.filter(unended), "pepper_id"),
        "license keys": _count(
            License.objects.filter(key_digest__isnull=False, archived_at__isnull=True).exclude(
                status=LicenseStatus.REVOKED
            ),
            "key_pepper_id",
        ),
    }
    peppers = {pepper_id for counts in counted.values() for pepper_id in counts}
    return {pepper_id: {kind: counts[pepper_id] for kind, counts in counted.items()} for pepper_id in sorted(peppers)}


def _count(rows: QuerySet[Any], column: str) -> Mapping[str, int]:
    return Counter(dict(rows.order_by().values_list(column).annotate(Count("pk"))))
