"""Quotas: where they are set, what they count, what may change, and which balances are let go of."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from common.errors import Conflict, Invalid, NotFound
from metering.domain.enums import QuotaMode, Scope
from metering.domain.quota_keys import quota_key
from metering.models import Balance, Quota
from metering.services.quotas import archive_quota, create_quota, update_quota
from tenants.domain.actors import Actor, worker
from tenants.models import AuditEntry, Epoch, Tenant
from tests.metering.ledger_rows import Workspace

pytestmark = pytest.mark.django_db

ACTOR: Actor = worker("test")


def _epochs(tenant: Tenant) -> dict[str, int]:
    return dict(Epoch.objects.for_tenant(tenant).values_list("kind", "version"))


def _create(workspace: Workspace, **fields: Any) -> Quota:
    terms = {"on": {"license": workspace.license.public_id}, "meter": "tokens", "limit": "100", "period": "month"}
    return create_quota(tenant=workspace.tenant, actor=ACTOR, **{**terms, **fields})


def _error(refusal: pytest.ExceptionInfo[Invalid]) -> tuple[str, str]:
    [error] = refusal.value.errors
    return error["field"], error["code"]


@pytest.mark.parametrize(
    ("owner", "scope", "epoch"),
    [("agent", "agent", "agent"), ("license", "license", "license"), ("customer", "customer", "customer")],
)
def test_create_quota__on_each_owner__has_its_scope_and_bumps_its_epoch(owner: str, scope: str, epoch: str) -> None:
    workspace = Workspace.make()
    subject = getattr(workspace, owner)

    quota = _create(workspace, on={owner: subject.public_id})

    quota.refresh_from_db()
    assert (quota.scope, getattr(quota, f"{owner}_id"), quota.plan_id) == (scope, subject.id, None)
    assert (quota.limit, quota.mode, quota.period, quota.anchor) == (Decimal(100), "hard", "month", "calendar")
    assert (quota.ceiling, quota.thresholds, quota.filter) == (None, [80, 100], {})
    assert _epochs(workspace.tenant) == {epoch: 1}
    entry = AuditEntry.objects.get(action="quota.created")
    assert (entry.target_id, entry.changes["limit"]) == (quota.public_id, [None, "100"])


def test_create_quota__on_the_tenant__bumps_the_tenant() -> None:
    workspace = Workspace.make()

    quota = _create(workspace, on={"tenant": True})

    assert (quota.scope, quota.license_id, quota.customer_id, quota.agent_id) == ("tenant", None, None, None)
    assert quota.key == quota_key(
        tenant_id=workspace.tenant.id,
        plan_id=None,
        scope="tenant",
        meter_id=workspace.meter.id,
        filter={},
        period="month",
    )
    assert _epochs(workspace.tenant) == {"tenant": 1}


@pytest.mark.parametrize(
    ("on", "field", "code"),
    [
        ({}, "on", "one_owner"),
        (None, "on", "one_owner"),
        ({"tenant": False}, "on.tenant", "invalid"),
        ({"tenant": True, "license": "lic_01h455vb4pex5vsknk084sn02q"}, "on", "one_owner"),
        ({"plan": "pro"}, "on.plan", "unknown_field"),
    ],
)
def test_create_quota__odd_owner__is_refused(on: Any, field: str, code: str) -> None:
    workspace = Workspace.make()
    with pytest.raises(Invalid) as refusal:
        _create(workspace, on=on)
    assert _error(refusal) == (field, code)


def test_create_quota__owner_of_another_tenant__is_unknown() -> None:
    mine, foreign = Workspace.make(), Workspace.make("other-vendor")
    for owner in ("agent", "license", "customer"):
        with pytest.raises(Invalid) as refusal:
            _create(mine, on={owner: getattr(foreign, owner).public_id})
        assert _error(refusal)[0] == f"on.{owner}"
    assert Quota.objects.count() == 0


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"meter": "nothing"}, "meter", "unknown_meter"),
        ({"limit": None}, "limit", "required"),
        ({"limit": "-1"}, "limit", "quantity_negative"),
        ({"limit": "NaN"}, "limit", "quantity_invalid"),
        ({"limit": True}, "limit", "quantity_invalid"),
        ({"limit": "1000000000000000000.1"}, "limit", "quantity_out_of_range"),
        ({"limit": "0.0000000000001"}, "limit", "quantity_too_precise"),
        ({"period": "decade"}, "period", "invalid"),
        ({"period": ["day"]}, "period", "invalid"),
        ({"period": {"rolling": 0}}, "period.rolling", "invalid"),
        ({"period": {"rolling": 3600, "per": "day"}}, "period", "invalid"),
        ({"period": "rolling"}, "period", "invalid"),
        ({"period": {"rolling": 3600}, "mode": "soft"}, "mode", "rolling_is_hard"),
        ({"period": {"rolling": 3600}, "anchor": "license", "mode": "hard"}, "anchor", "anchor_not_allowed"),
        ({"period": {"rolling": 3600}, "carry_over": True, "mode": "hard"}, "carry_over", "carry_over_not_allowed"),
        ({"period": "lifetime", "carry_over": True}, "carry_over", "carry_over_not_allowed"),
        ({"carry_over": {"max": "0"}}, "carry_over.max", "not_positive"),
        ({"carry_over": {"most": "5"}}, "carry_over", "invalid"),
        ({"mode": "medium"}, "mode", "invalid"),
        ({"ceiling": "200"}, "ceiling", "ceiling_on_hard"),
        ({"mode": "soft", "ceiling": "99.999"}, "ceiling", "ceiling_below_limit"),
        ({"filter": {"region": "eu"}}, "filter.region", "dimension_unknown"),
        ({"filter": "large"}, "filter", "invalid"),
        ({"thresholds": [0]}, "thresholds.0", "invalid"),
        ({"thresholds": [80, 1001]}, "thresholds.1", "invalid"),
        ({"thresholds": [80.5]}, "thresholds.0", "invalid"),
        ({"thresholds": list(range(1, 22))}, "thresholds", "too_many"),
        ({"anchor": "moon"}, "anchor", "invalid"),
        ({"on": {"tenant": True}, "anchor": "license"}, "anchor", "anchor_not_allowed"),
    ],
)
def test_create_quota__bad_field__is_refused_by_name(fields: dict[str, Any], field: str, code: str) -> None:
    workspace = Workspace.make()
    with pytest.raises(Invalid) as refusal:
        _create(workspace, **fields)
    assert _error(refusal) == (field, code)
    assert Quota.objects.count() == 0


def test_create_quota__borders__are_taken() -> None:
    workspace = Workspace.make()
    quota = _create(workspace, limit="0", mode="soft", ceiling="0", thresholds=[1000, 1, 50, 50], anchor="license")
    assert (quota.limit, quota.ceiling, quota.thresholds, quota.anchor) == (0, 0, [1, 50, 1000], "license")
    other = _create(workspace, limit="1000000000000000000", period="lifetime", thresholds=[])
    other.refresh_from_db()
    assert (other.limit, other.thresholds) == (Decimal(10) ** 18, [])


def test_create_quota__same_key_on_one_owner__conflicts_until_archived() -> None:
    workspace = Workspace.make()
    first = _create(workspace, filter={"model": "large"})

    with pytest.raises(Conflict) as refusal:
        _create(workspace, filter={"model": "large"}, limit="7", mode="soft")
    assert refusal.value.code == "quota_exists"

    _create(workspace, filter={"model": "small"})
    _create(workspace, filter={"model": "large"}, period="day")
    _create(workspace, filter={"model": "large"}, on={"agent": workspace.agent.public_id})
    other_agent = _create(workspace, filter={"model": "large"}, on={"agent": workspace.worker.public_id})
    assert other_agent.key != first.key
    archive_quota(tenant=workspace.tenant, quota_id=first.id, actor=ACTOR)
    again = _create(workspace, filter={"model": "large"})
    assert (again.key, again.id != first.id) == (first.key, True)


def test_update_quota__limit_ceiling_mode_thresholds__change_under_the_same_key() -> None:
    workspace = Workspace.make()
    quota = _create(workspace, limit="100")
    balance = workspace.balance(quota, "60")

    changed = update_quota(
        tenant=workspace.tenant,
        quota_id=quota.id,
        actor=ACTOR,
        limit="50",
        mode="soft",
        ceiling="75.5",
        thresholds=[90],
        meter="tokens",
        period="month",
        filter={},
        anchor="calendar",
        scope="license",
        on={"license": workspace.license.public_id},
    )

    assert (changed.limit, changed.mode, changed.ceiling, changed.thresholds) == (50, "soft", Decimal("75.5"), [90])
    assert changed.key == quota.key
    assert AuditEntry.objects.get(action="quota.updated").changes == {
        "limit": ["100", "50"],
        "mode": ["hard", "soft"],
        "ceiling": [None, "75.5"],
        "thresholds": [[80, 100], [90]],
    }
    balance.refresh_from_db()
    assert (balance.used, balance.detached_at) == (Decimal(60), None)
    assert _epochs(workspace.tenant) == {"license": 2}


@pytest.mark.parametrize(
    "change",
    [
        {"meter": "calls"},
        {"filter": {"model": "large"}},
        {"period": "day"},
        {"period": {"rolling": 60}},
        {"anchor": "license"},
        {"scope": "customer"},
        {"on": {"tenant": True}},
    ],
)
def test_update_quota__what_it_counts__is_immutable(change: dict[str, Any]) -> None:
    from metering.services.meters import create_meter

    workspace = Workspace.make()
    create_meter(tenant=workspace.tenant, actor=ACTOR, code="calls")
    quota = _create(workspace)

    with pytest.raises(Invalid) as refusal:
        update_quota(tenant=workspace.tenant, quota_id=quota.id, actor=ACTOR, limit="1", **change)

    assert _error(refusal) == (next(iter(change)), "immutable")
    quota.refresh_from_db()
    assert quota.limit == Decimal(100)


def test_update_quota__ceiling_left_behind__is_refused() -> None:
    workspace = Workspace.make()
    quota = _create(workspace, mode="soft", ceiling="150")
    with pytest.raises(Invalid) as refusal:
        update_quota(tenant=workspace.tenant, quota_id=quota.id, actor=ACTOR, limit="151")
    assert _error(refusal) == ("ceiling", "ceiling_below_limit")
    with pytest.raises(Invalid) as refusal:
        update_quota(tenant=workspace.tenant, quota_id=quota.id, actor=ACTOR, mode="hard")
    assert _error(refusal) == ("ceiling", "ceiling_on_hard")
    hard = update_quota(tenant=workspace.tenant, quota_id=quota.id, actor=ACTOR, mode="hard", ceiling=None)
    assert (hard.mode, hard.ceiling) == ("hard", None)


def test_update_quota__nothing_new__leaves_no_trace() -> None:
    workspace = Workspace.make()
    quota = _create(workspace)
    update_quota(tenant=workspace.tenant, quota_id=quota.id, actor=ACTOR, limit="100.0", mode="hard")
    assert AuditEntry.objects.filter(action="quota.updated").count() == 0
    assert _epochs(workspace.tenant) == {"license": 1}


def test_archive_quota__own__lets_go_of_its_own_open_balances_only() -> None:
    workspace = Workspace.make()
    mine = _create(workspace, on={"agent": workspace.agent.public_id})
    other = _create(workspace, on={"agent": workspace.worker.public_id})
    assert mine.key == other.key
    open_balance = workspace.balance(mine, "5")
    closed = workspace.balance(
        mine, "9", month=datetime(2026, 10, 1, tzinfo=UTC), closed_at=datetime(2026, 11, 1, 1, tzinfo=UTC)
    )
    others = workspace.balance(other, "7")

    archive_quota(tenant=workspace.tenant, quota_id=mine.id, actor=ACTOR)
    archive_quota(tenant=workspace.tenant, quota_id=mine.id, actor=ACTOR)

    detached = {balance.id: balance.detached_at is not None for balance in Balance.objects.all()}
    assert detached == {open_balance.id: True, closed.id: False, others.id: False}
    assert AuditEntry.objects.filter(action="quota.archived").count() == 1
    with pytest.raises(Conflict) as refusal:
        update_quota(tenant=workspace.tenant, quota_id=mine.id, actor=ACTOR, limit="1")
    assert refusal.value.code == "quota_archived"


def test_archive_quota__priced_quota_of_a_plan__conflicts_and_stays() -> None:
    workspace = Workspace.make()
    quota = workspace.quota(mode=QuotaMode.SOFT)
    workspace.price()

    with pytest.raises(Conflict) as refusal:
        archive_quota(tenant=workspace.tenant, quota_id=quota.id, actor=ACTOR)

    assert refusal.value.code == "quota_priced"
    quota.refresh_from_db()
    assert quota.archived_at is None
    with pytest.raises(Invalid) as becoming_hard:
        update_quota(tenant=workspace.tenant, quota_id=quota.id, actor=ACTOR, mode="hard")
    assert becoming_hard.value.code == "price_without_quota"


def test_archive_quota__of_a_plan__lets_go_for_every_subject() -> None:
    workspace = Workspace.make()
    quota = workspace.quota(scope=Scope.AGENT)
    for agent in (workspace.agent, workspace.worker):
        workspace.balance(quota, "1", subject_id=agent.id)

    archive_quota(tenant=workspace.tenant, quota_id=quota.id, actor=ACTOR)

    assert Balance.objects.filter(detached_at__isnull=False).count() == 2
    assert _epochs(workspace.tenant) == {"tenant": 1}


def test_quotas__of_another_tenant__are_not_there() -> None:
    mine, foreign = Workspace.make(), Workspace.make("other-vendor")
    quota = _create(foreign)
    with pytest.raises(NotFound):
        update_quota(tenant=mine.tenant, quota_id=quota.id, actor=ACTOR, limit="1")
    with pytest.raises(NotFound):
        archive_quota(tenant=mine.tenant, quota_id=quota.id, actor=ACTOR)
