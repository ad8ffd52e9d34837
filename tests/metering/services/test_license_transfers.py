"""Licences that change hands: what was used stays where it was used, and the last holder pays."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from common.errors import Conflict
from licenses.domain.enums import LicenseStatus
from licenses.models import License, LicenseTransfer
from metering.domain.enums import Scope
from metering.models import Balance, OverageRecord
from metering.selectors.applicable import quotas_applying
from metering.services.closing import close_periods
from metering.services.license_transfers import transfer_license_with_terms
from metering.services.overage import accrue_overage
from tenants.domain.actors import Actor, worker
from tenants.models import Customer, OutboxEvent
from tests.metering.ledger_rows import NOVEMBER, OCTOBER, Workspace
from tests.trail import actions, epoch

pytestmark = pytest.mark.django_db

ACTOR: Actor = worker("test")
AT = datetime(2026, 11, 10, 12, tzinfo=UTC)


def _customer(workspace: Workspace, external_id: str = "c2") -> Customer:
    return Customer.objects.create(tenant=workspace.tenant, external_id=external_id)


def _transfer(workspace: Workspace, customer: Customer) -> License:
    return transfer_license_with_terms(
        tenant=workspace.tenant, license_id=workspace.license.id, actor=ACTOR, customer=customer
    )


def test_transfer__license_quota__goes_on_where_it_was() -> None:
    workspace = Workspace.make()
    workspace.use("30")
    on_license = workspace.balance(workspace.quota("100"), "30")
    second = _customer(workspace)

    license = _transfer(workspace, second)

    on_license.refresh_from_db()
    assert (license.customer, on_license.detached_at) == (second, None)
    [standing] = quotas_applying(workspace.tenant, license=license, at=AT)
    assert (standing.used, standing.remaining) == (Decimal(30), Decimal(70))


def test_transfer__customer_quota_of_the_plan__stays_behind_and_begins_anew() -> None:
    workspace = Workspace.make()
    workspace.use("30")
    left = workspace.balance(workspace.quota("100", scope=Scope.CUSTOMER), "30")
    second = _customer(workspace)

    _transfer(workspace, second)

    left.refresh_from_db()
    assert left.detached_at is not None
    assert quotas_applying(workspace.tenant, customer=workspace.customer, at=AT) == []
    [standing] = quotas_applying(workspace.tenant, customer=second, at=AT)
    assert (standing.used, standing.remaining) == (Decimal(0), Decimal(100))


def test_transfer__to_who_holds_it_already__changes_nothing() -> None:
    workspace = Workspace.make()
    balance = workspace.balance(workspace.quota(scope=Scope.CUSTOMER), "30")

    _transfer(workspace, workspace.customer)

    balance.refresh_from_db()
    assert balance.detached_at is None
    assert actions(workspace.tenant, "license.transferred") == []
    assert not LicenseTransfer.objects.exists()


def test_transfer__snapshots_of_license_and_both_customers__are_stale() -> None:
    workspace = Workspace.make()
    second = _customer(workspace)
    subjects = (workspace.license.id, workspace.customer.id, second.id)
    before = [epoch(workspace.tenant, subject) for subject in subjects]

    _transfer(workspace, second)

    assert [epoch(workspace.tenant, subject) for subject in subjects] == [version + 1 for version in before]


def test_transfer__revoked__refused_and_nothing_moves() -> None:
    workspace = Workspace.make()
    License.objects.filter(pk=workspace.license.pk).update(status=LicenseStatus.REVOKED)

    with pytest.raises(Conflict) as caught:
        _transfer(workspace, _customer(workspace))

    assert caught.value.code == "license_revoked"
    workspace.license.refresh_from_db()
    assert workspace.license.customer == workspace.customer


def test_close_periods__handed_over_since__ended_period_is_the_givers_and_the_running_one_the_takers() -> None:
    workspace = Workspace.make()
    quota = workspace.quota("0")
    workspace.price()
    ended, running = workspace.balance(quota, "5", month=OCTOBER), workspace.balance(quota, "7", month=NOVEMBER)
    second, third = _customer(workspace), _customer(workspace, "c3")
    end = Balance.objects.get(pk=ended.pk).period_end
    assert end is not None

    # Nothing of October was accrued before the licence changed hands, twice.
    _transfer(workspace, second)
    LicenseTransfer.objects.update(at=end)
    _transfer(workspace, third)
    accrue_overage(everything=True, now=AT)
    close_periods(now=AT, before=AT)

    holders = {record.balance_id: record.customer for record in OverageRecord.objects.select_related("customer")}
    assert holders == {ended.id: workspace.customer, running.id: third}


def test_close_periods__handed_over_just_before_the_end__the_taker_pays() -> None:
    workspace = Workspace.make()
    workspace.price()
    ended = workspace.balance(workspace.quota("0"), "5", month=OCTOBER)
    second = _customer(workspace)
    assert ended.period_end is not None

    _transfer(workspace, second)
    LicenseTransfer.objects.update(at=ended.period_end - timedelta(microseconds=1))
    close_periods(now=AT, before=AT)

    [record] = OverageRecord.objects.select_related("customer")
    assert record.customer == second


def test_close_periods__accrued_while_the_giver_held_it__the_taker_pays_and_is_told_of() -> None:
    workspace = Workspace.make()
    workspace.price()
    ended = workspace.balance(workspace.quota("0"), "5", month=OCTOBER)
    assert ended.period_end is not None
    accrue_overage(everything=True, now=ended.period_end - timedelta(seconds=15))
    second = _customer(workspace)

    _transfer(workspace, second)
    LicenseTransfer.objects.update(at=ended.period_end - timedelta(seconds=5))
    accrue_overage(everything=True, now=ended.period_end + timedelta(seconds=5))
    close_periods(now=AT, before=AT)

    [record] = OverageRecord.objects.select_related("customer")
    [told] = OutboxEvent.objects.filter(type="overage.finalized")
    assert (record.customer, told.data["customer"]) == (second, second.public_id)
