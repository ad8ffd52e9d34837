"""What periods carry over and the parts of rolling windows, put right where the facts say what they were."""

from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db import connection

from common.ids import Prefix, encode_id
from common.quantities import format_quantity
from metering.domain.enums import Period
from metering.domain.periods import period_window
from metering.domain.quota_keys import balance_id
from metering.models import Balance
from metering.selectors.carried_proofs import differing_carried
from metering.selectors.rolling_proofs import missing_parts
from tenants.models import Tenant

_UTC: Final = ZoneInfo("UTC")

_SET_CARRIED = """
UPDATE metering_balance SET brought = %s, carried = %s, updated_at = clock_timestamp() WHERE id = %s AND tenant_id = %s
"""


def repair_carried(tenant: Tenant, changes: dict[str, list[Any]]) -> None:
    """Give periods what the periods before left, where only one figure is possible. Under the configuration lock."""
    for found in list(differing_carried([tenant.id])):
        if found.right is None:
            continue
        with connection.cursor() as cursor:
            cursor.execute(_SET_CARRIED, [*found.right, found.id, tenant.id])
        for name, before, right in zip(
            ("brought", "carried"), (found.brought, found.carried), found.right, strict=True
        ):
            if before != right:
                changes[f"{encode_id(Prefix.BALANCE, found.id)}.{name}"] = [
                    format_quantity(before),
                    format_quantity(right),
                ]


def add_missing_parts(tenant: Tenant, changes: dict[str, list[Any]]) -> None:
    """Make sub-buckets for events that have none, empty: what they have used is set by whoever counts them next."""
    while found := list(missing_parts([tenant.id])):
        for each in found:
            window = period_window(Period.ROLLING, at=each.occurred_at, timezone=_UTC, rolling_seconds=each.seconds)
            part = Balance.objects.for_tenant(tenant).get(pk=each.sibling)
            part.id = balance_id(each.quota_key, each.subject_id, window.start)
            part.period_start, part.period_end = window.start, window.end
            part.used = part.held = part.burned = part.base = part.carried = 0
            part.thresholds_fired, part.closed_at = [], None
            part.save(force_insert=True)
            changes[f"{part.public_id}.used"] = [None, "of events that no part of the window counted"]
