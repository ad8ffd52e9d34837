"""Epochs: every change to what a cached snapshot is made of bumps one, and is felt by every process at once."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from redis.exceptions import RedisError

from common.clock import real_clock
from common.epochs import EpochKey, EpochsUnpublished, publish_epochs
from common.errors import RevocationPending
from common.status_versions import replace_status_versions
from common.valkey import current_run_id, valkey
from tenants.domain.enums import EpochKind
from tenants.models import Epoch
from tenants.selectors.epochs import read_epochs

#: Up to when the epochs of Postgres were told to the server with this run id.
_TOLD = "epochs:told:{run_id}"

_BUMP = """
INSERT INTO tenants_epoch (tenant_id, kind, subject_id, version, changed_at)
SELECT %s, kind, subject_id, 1, %s FROM unnest(%s::text[], %s::uuid[]) AS asked (kind, subject_id)
ON CONFLICT (tenant_id, kind, subject_id)
DO UPDATE SET version = tenants_epoch.version + 1, changed_at = excluded.changed_at
RETURNING kind, subject_id, version
"""


def bump_epochs(tenant_id: UUID, *keys: EpochKey) -> None:
    """Make every snapshot that holds one of `keys` stale, from the moment that this transaction's call returns.

    Called last in the change's own transaction. The new versions go to Valkey after the outermost commit; if
    Valkey cannot be told, the commit stands, the republisher goes on, and the caller gets RevocationPending.
    """
    asked = sorted({(key.kind, key.id) for key in keys})  # one order for everybody: these rows stay locked
    with connection.cursor() as cursor:
        cursor.execute(
            _BUMP, [tenant_id, real_clock().now(), [kind for kind, _ in asked], [subject for _, subject in asked]]
        )
        bumped = [(tenant_id, EpochKey(kind, subject), version) for kind, subject, version in cursor.fetchall()]
    _publish_on_commit(bumped)


def republish(tenant_id: UUID, *keys: EpochKey) -> None:
    """Tell Valkey of what is committed already: for a call that changes nothing because an earlier one did.

    Raises RevocationPending from the outermost commit while Valkey cannot be told.
    """
    versions = read_epochs({tenant_id: keys})[tenant_id]
    _publish_on_commit([(tenant_id, key, version) for key, version in versions.items()])


def republish_recent(*, now: datetime | None = None, within: timedelta = timedelta(minutes=2)) -> int:
    """Tell Valkey once more of every epoch that changed lately; returns how many.

    Covers a process that died between its commit and its publishing. "Lately" goes back to the last time that this
    server was told, however long nobody could tell it; one that has never been told is cold anyway.
    Raises EpochsUnpublished.
    """
    now = now or real_clock().now()
    since = min(now, _told_until() or now) - within
    recent = Epoch.objects.filter(changed_at__gte=since).values_list("tenant_id", "kind", "subject_id", "version")
    pairs = [(tenant_id, EpochKey(kind, subject), version) for tenant_id, kind, subject, version in recent]
    publish_epochs(pairs)
    _note_told(now)
    return len(pairs)


def _told_until() -> datetime | None:
    try:
        told = valkey().get(_TOLD.format(run_id=current_run_id()))
    except RedisError as error:
        raise EpochsUnpublished(str(error)) from error
    return None if told is None else datetime.fromisoformat(told.decode() if isinstance(told, bytes) else str(told))


def _note_told(at: datetime) -> None:
    try:
        valkey().set(_TOLD.format(run_id=current_run_id()), at.isoformat(), ex=24 * 60 * 60)
    except RedisError as error:
        raise EpochsUnpublished(str(error)) from error


def publish_statuses(tenant_id: UUID) -> None:
    """Make the tenant's cached status lists old once this is committed: for what changes no snapshot, only tokens.

    Raises RevocationPending from the outermost commit while Valkey cannot be told.
    """
    transaction.on_commit(partial(_publish, [], [tenant_id]))


class _Publication:
    """What one bump has to tell. The first that runs after the commit tells for all of its transaction, at once.

    Each stands among the commit's hooks by itself, so that one whose savepoint was rolled back tells nothing: a
    version that nobody wrote must never be seen.
    """

    def __init__(self, pairs: list[tuple[UUID, EpochKey, int]]) -> None:
        self.pairs = pairs
        self.is_done = False
        self.hooks: list[Any] = []

    def __call__(self) -> None:
        if self.is_done:
            return
        # The list that the commit is working through has let go of this hook already; any other list is an older one.
        others = [hook for _, hook, *_ in self.hooks if isinstance(hook, _Publication)]
        together = [self] if self in others else [self, *others]
        for each in together:
            each.is_done = True
        _publish([pair for each in together for pair in each.pairs])


def _publish_on_commit(pairs: list[tuple[UUID, EpochKey, int]]) -> None:
    publication = _Publication(pairs)
    transaction.on_commit(publication)
    publication.hooks = connection.run_on_commit


def _publish(pairs: Iterable[tuple[UUID, EpochKey, int]], tenant_ids: Iterable[UUID] = ()) -> None:
    pairs = list(pairs)
    # A key's end changes nothing for the tokens that were issued to its agent.
    concerned = {tenant_id for tenant_id, key, _ in pairs if key.kind != EpochKind.KEY}
    try:
        publish_epochs(pairs)
        replace_status_versions({*concerned, *tenant_ids})
    except EpochsUnpublished as error:
        raise RevocationPending from error
