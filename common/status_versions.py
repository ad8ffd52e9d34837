"""A version in Valkey of everything that a tenant's status lists are made of: how a cached list knows that it is old.

A version is a random text that is replaced by every change, after its commit and before its call returns. It never
comes again, so a reader who looked, slept through a change or a flush and then stored what it had read stores it
under a version that nobody has any more. Names carry the server's run id, as those of epochs do.
"""

import secrets
from collections.abc import Iterable
from typing import Final
from uuid import UUID

import redis

from common.epochs import EpochsUnpublished
from common.valkey import current_run_id, valkey

_LIFETIME: Final = 24 * 60 * 60
_ATTEMPTS: Final = 4


def replace_status_versions(tenant_ids: Iterable[UUID]) -> None:
    """Make every cached status list of these tenants old. Call it after the commit. Raises EpochsUnpublished."""
    wanted = set(tenant_ids)
    if not wanted:
        return
    try:
        for _ in range(_ATTEMPTS):
            run_id = current_run_id()
            flight = valkey().pipeline(transaction=False)
            for tenant_id in wanted:
                flight.set(_name(tenant_id, run_id), secrets.token_hex(8), ex=_LIFETIME)
            flight.execute()
            # On a connection that was made for this, the server may be another one.
            if current_run_id() == run_id:
                return
    except redis.RedisError as error:
        raise EpochsUnpublished(str(error)) from error
    raise EpochsUnpublished("The server was replaced again and again while it was told.")


def status_version(tenant_id: UUID) -> str | None:
    """The version as it is now, to be asked for before the data; None while Valkey is away: cache nothing then."""
    try:
        run_id = current_run_id()
        fresh = secrets.token_hex(8)
        known = valkey().set(_name(tenant_id, run_id), fresh, nx=True, get=True, ex=_LIFETIME)
        if current_run_id() != run_id:
            return None
    except redis.RedisError:
        return None
    version = fresh if known is None else known.decode() if isinstance(known, bytes) else str(known)
    return f"{run_id}:{version}"


def _name(tenant_id: UUID, run_id: str) -> str:
    return f"{{{tenant_id.hex}}}:statuses:{run_id[:12]}"
