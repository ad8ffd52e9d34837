"""The versions of epochs as Postgres has them."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from django.db import connection

from common.epochs import EpochKey

_READ = """
SELECT tenant_id, kind, subject_id, version FROM tenants_epoch
WHERE tenant_id = ANY(%s) AND subject_id = ANY(%s)
"""


def read_epochs(wanted: Mapping[UUID, Sequence[EpochKey]]) -> dict[UUID, dict[EpochKey, int]]:
    """The versions in Postgres of the epochs asked for, by tenant; without a row it is 0."""
    found = {tenant_id: dict.fromkeys(keys, 0) for tenant_id, keys in wanted.items()}
    subjects = {key.id for keys in wanted.values() for key in keys}
    with connection.cursor() as cursor:
        cursor.execute(_READ, [list(wanted), list(subjects)])
        for tenant_id, kind, subject_id, version in cursor.fetchall():
            key = EpochKey(kind, subject_id)
            if key in found.get(tenant_id, {}):
                found[tenant_id][key] = version
    return found
