"""Workers serve many workspaces: what fails in one ends nothing for those after it, and is told at the end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from common.clock import real_clock
from licenses.models import License
from licenses.services import expiry
from metering import tasks
from metering.models import Balance, OverageRecord, Statement
from metering.services import closing, overage, statements
from metering.services.closing import close_periods
from tenants.models import AuditSeal
from tenants.services import sealing
from tenants.services.auditing import record_audit
from tenants.services.each_workspace import WorkspacesFailedError
from tests.factories import ACTOR
from tests.metering.ledger_rows import OCTOBER, Workspace

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def workspaces() -> list[Workspace]:
    """Two of them, in the order in which workers come to them, with something over in October."""
    made = [Workspace.make(slug) for slug in ("one", "two")]
    for workspace in made:
        workspace.price("1")
        workspace.use("3", workspace.balance(workspace.quota("0"), month=OCTOBER), at=OCTOBER)
    return sorted(made, key=lambda workspace: workspace.tenant.id)


def failing(real: Callable[..., Any], concerns: Callable[..., bool]) -> Callable[..., Any]:
    """The same, but for what concerns the workspace in which it fails."""

    def fail(*given: Any, **named: Any) -> Any:
        if concerns(*given, **named):
            raise ZeroDivisionError
        return real(*given, **named)

    return fail


def test_close_periods__one_workspace_fails__others_are_closed_and_have_their_statements(
    workspaces: list[Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (workspace.tenant.id for workspace in workspaces)
    monkeypatch.setattr(closing, "_close", failing(closing._close, lambda tenant_id, *_, **__: tenant_id == first))
    with pytest.raises(WorkspacesFailedError) as told:
        tasks.close_periods()
    assert told.value.tenant_ids == (first,)
    assert list(Balance.objects.filter(closed_at__isnull=False).values_list("tenant_id", flat=True)) == [second]
    assert list(Statement.objects.values_list("tenant_id", flat=True)) == [second]


def test_close_periods__of_one_workspace__says_what_stands_against_it(
    workspaces: list[Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closing, "_close", failing(closing._close, lambda *_, **__: True))
    with pytest.raises(ZeroDivisionError):
        close_periods(tenant=workspaces[0].tenant)


def test_statements__one_workspace_fails__others_have_theirs(
    workspaces: list[Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (workspace.tenant.id for workspace in workspaces)
    real = statements.issue_due_statements
    monkeypatch.setattr(statements, "issue_due_statements", failing(real, lambda tenant: tenant.id == first))
    with pytest.raises(WorkspacesFailedError):
        tasks.close_periods()
    assert list(Statement.objects.values_list("tenant_id", flat=True)) == [second]


def test_accrue_overage__one_workspace_fails__others_have_their_records(
    workspaces: list[Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (workspace.tenant.id for workspace in workspaces)
    real = overage.excess_of_licenses
    monkeypatch.setattr(
        overage, "excess_of_licenses", failing(real, lambda licenses: first in {tenant for tenant, _ in licenses})
    )
    with pytest.raises(WorkspacesFailedError) as told:
        tasks.accrue_overage()
    assert told.value.tenant_ids == (first,)
    assert list(OverageRecord.objects.values_list("tenant_id", flat=True)) == [second]


def test_expire_licenses__one_workspace_fails__others_are_told(
    workspaces: list[Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (workspace.tenant.id for workspace in workspaces)
    License.objects.update(expires_at=real_clock().now() - timedelta(days=1))
    real = expiry.record_audit
    monkeypatch.setattr(expiry, "record_audit", failing(real, lambda **named: named["tenant_id"] == first))
    with pytest.raises(WorkspacesFailedError) as told:
        expiry.expire_licenses()
    assert told.value.tenant_ids == (first,)
    noted = License.objects.filter(expired_noted_at__isnull=False)
    assert list(noted.values_list("tenant_id", flat=True)) == [second]


def test_seal_audit__one_workspace_fails__others_are_sealed(
    workspaces: list[Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (workspace.tenant.id for workspace in workspaces)
    for workspace in workspaces:
        record_audit(tenant_id=workspace.tenant.id, actor=ACTOR, action="test.done", target=workspace.tenant)
    real = sealing._seal_tenant
    monkeypatch.setattr(sealing, "_seal_tenant", failing(real, lambda tenant_id, _: tenant_id == first))
    with pytest.raises(WorkspacesFailedError) as told:
        sealing.seal_audit()
    assert told.value.tenant_ids == (first,)
    assert list(AuditSeal.objects.values_list("tenant_id", flat=True)) == [second]
