"""The configuration lock: one per tenant, held by whoever changes which balances an event touches.

The ledger takes it shared, so that events never wait for one another; a change of a quota, plan, meter, parent
or customer takes it exclusively, so that no event in flight misses it. It is an advisory lock that ends with the
transaction, and always the first lock that a transaction takes.
"""

from collections.abc import Iterable
from uuid import UUID

from django.db import connection


def lock_number(tenant_id: UUID) -> int:
    """The advisory lock's key: the random half of the UUIDv7, as a signed 64-bit integer."""
    return int.from_bytes(tenant_id.bytes[8:], "big", signed=True)


def sorted_lock_numbers(tenant_ids: Iterable[UUID]) -> list[int]:
    """Lock keys in the order in which everybody takes them."""
    return sorted({lock_number(tenant_id) for tenant_id in tenant_ids})


def lock_configuration(tenant_id: UUID) -> None:
    """Keep the ledger out of this tenant until the transaction ends, and wait until it has left."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [lock_number(tenant_id)])
