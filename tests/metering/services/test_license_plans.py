"""Licences that change plans: balances of quotas that no longer apply are let go of, the others go on."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from licenses.domain.enums import PlanRole
from licenses.models import License, LicensePlan, Plan
from metering.domain.enums import Anchor, Scope
from metering.models import Balance, Quota
from metering.selectors.applicable import quotas_applying
from metering.services.license_plans import archive_license_with_terms, update_license_with_terms
from tenants.domain.actors import Actor, worker
from tests.metering.ledger_rows import OCTOBER, Workspace

pytestmark = pytest.mark.django_db

ACTOR: Actor = worker("test")
NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)


def _plan(workspace: Workspace, code: str) -> Plan:
    return Plan.objects.create(tenant=workspace.tenant, product=workspace.product, code=code, name=code)


def _update(workspace: Workspace, **changes: object) -> License:
    return update_license_with_terms(tenant=workspace.tenant, license_id=workspace.license.id, actor=ACTOR, **changes)


def _detached() -> set[object]:
    return set(Balance.objects.filter(detached_at__isnull=False).values_list("id", flat=True))


def test_update_license_with_terms__another_plan__the_old_plans_balances_are_let_go_of() -> None:
    workspace = Workspace.make()
    workspace.use("30")
    other = _plan(workspace, "other")
    new_quota = workspace.quota("500", plan=other)
    on_license = workspace.balance(workspace.quota(), "30")
    on_agent = workspace.balance(workspace.quota(scope=Scope.AGENT), "30")
    on_customer = workspace.balance(workspace.quota(scope=Scope.CUSTOMER), "30")
    own = workspace.balance(workspace.quota(on=workspace.agent, scope=Scope.AGENT), "30", subject_id=workspace.agent.id)

    _update(workspace, plan="other")

    assert _detached() == {on_license.id, on_agent.id, on_customer.id}
    own.refresh_from_db()
    assert own.detached_at is None
    [standing] = quotas_applying(workspace.tenant, license=workspace.license, at=NOW)
    assert (standing.terms.key, standing.used, standing.remaining) == (new_quota.key, Decimal(30), Decimal(470))


def test_update_license_with_terms__no_change_of_plan__lets_go_of_nothing() -> None:
    workspace = Workspace.make()
    workspace.balance(workspace.quota(), "30")

    changed = _update(workspace, metadata={"team": "search"}, plan="pro")

    assert changed.metadata == {"team": "search"}
    assert _detached() == set()


def test_update_license_with_terms__add_on_comes_and_goes__only_its_own_quota_is_let_go_of() -> None:
    workspace = Workspace.make()
    add_on = _plan(workspace, "more")
    shared = workspace.balance(workspace.quota("100"), "30")
    workspace.quota("50", plan=add_on)
    own = workspace.balance(workspace.quota("5", plan=add_on, only={"model": "large"}), "1")

    _update(workspace, add_ons=["more"])
    [whole, *_] = [
        standing
        for standing in quotas_applying(workspace.tenant, license=workspace.license, at=NOW)
        if not standing.terms.filter
    ]
    assert (whole.terms.limit, whole.used) == (Decimal(150), Decimal(30))
    assert _detached() == set()

    _update(workspace, add_ons=[])
    assert _detached() == {own.id}
    shared.refresh_from_db()
    assert shared.used == Decimal(30)


def test_update_license_with_terms__another_license_brings_the_customers_quota__it_goes_on() -> None:
    workspace = Workspace.make()
    second = License.objects.create(tenant=workspace.tenant, customer=workspace.customer, starts_at=OCTOBER)
    LicensePlan.objects.create(tenant=workspace.tenant, license=second, plan=workspace.plan, role=PlanRole.BASE)
    _plan(workspace, "other")
    balance = workspace.balance(workspace.quota(scope=Scope.CUSTOMER), "30")

    _update(workspace, plan="other")
    assert _detached() == set()

    archive_license_with_terms(tenant=workspace.tenant, license_id=second.id, actor=ACTOR)
    assert _detached() == {balance.id}


def test_update_license_with_terms__start_moves__balances_anchored_to_the_old_one_are_let_go_of() -> None:
    workspace = Workspace.make()
    anchored = workspace.quota()
    Quota.objects.filter(pk=anchored.pk).update(anchor=Anchor.LICENSE)
    moved = workspace.balance(anchored, "30")
    stays = workspace.balance(workspace.quota(scope=Scope.AGENT), "30")

    _update(workspace, starts_at=OCTOBER)
    assert _detached() == set()

    _update(workspace, starts_at=OCTOBER + timedelta(days=9))
    assert _detached() == {moved.id}
    stays.refresh_from_db()
    assert stays.detached_at is None
