"""Work done for one workspace after the other: what fails in one is logged, and the others are done all the same.

At the end it is told that something failed, so that whoever watches over workers sees it.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import structlog
from django.db import InterfaceError, OperationalError, connection

from tenants.models import TenantQuerySet

log = structlog.get_logger(__name__)


class WorkspacesFailedError(Exception):
    """Some work could not be done in these workspaces (ids); the log says why. In all others it is done."""

    def __init__(self, work: str, tenant_ids: Iterable[UUID]) -> None:
        self.tenant_ids = tuple(tenant_ids)
        super().__init__(f"{work} failed in {len(self.tenant_ids)} workspaces: {', '.join(map(str, self.tenant_ids))}")


class EachWorkspace:
    """The workspaces of one run of `work`: do each one's part under `of`, and `tell` at the end."""

    def __init__(self, work: str) -> None:
        self._work = work
        self.failed: list[UUID] = []

    @contextmanager
    def of(self, tenant_id: UUID) -> Iterator[None]:
        """What is done here fails for this workspace alone; where the database is gone it fails for all."""
        try:
            yield
        except Exception as error:
            _raise_if_disconnected(error)
            log.exception("workspace.work_failed", work=self._work, tenant=str(tenant_id))
            if tenant_id not in self.failed:
                self.failed.append(tenant_id)

    def together(
        self, whole: Callable[[], int], *, one: Callable[[UUID], int], concerned: Callable[[], Iterable[UUID]]
    ) -> int:
        """Do `whole` for many workspaces in one; if that fails, `one` for each that is `concerned`. How many it did."""
        try:
            return whole()
        except Exception as error:  # noqa: BLE001 (whatever it is, it happens again below, and is told)
            _raise_if_disconnected(error)
            log.warning("workspace.work_divided", work=self._work, error=type(error).__name__)
        done = 0
        for tenant_id in concerned():
            with self.of(tenant_id):
                done += one(tenant_id)
        return done

    def tell(self) -> None:
        """Raises WorkspacesFailedError if any failed."""
        if self.failed:
            raise WorkspacesFailedError(self._work, self.failed)


def tenants_of(rows: TenantQuerySet[Any]) -> list[UUID]:
    """The workspaces that these rows belong to."""
    return list(rows.order_by().values_list("tenant_id", flat=True).distinct())


def _raise_if_disconnected(error: Exception) -> None:
    if isinstance(error, OperationalError | InterfaceError) and not connection.is_usable():
        raise error
