"""Which quotas apply to whom, in which order, and how they stand."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from common.errors import NotFound
from licenses.domain.enums import PlanRole
from licenses.models import License, LicensePlan, Plan
from metering.domain.enums import Anchor, QuotaMode, QuotaState, Scope
from metering.models import Balance, Hold, HoldLine, Meter, Quota, TopUp, TopUpBurn
from metering.selectors.applicable import QuotaStanding, quotas_applying
from metering.services.quotas import create_quota
from tenants.domain.actors import worker
from tests.metering.ledger_rows import DECEMBER, NOVEMBER, OCTOBER, Workspace

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
ACTOR = worker("test")


def own(workspace: Workspace, on: dict[str, Any], **fields: Any) -> Quota:
    terms: dict[str, Any] = {"meter": "tokens", "limit": "10", "period": "month", **fields}
    return create_quota(tenant=workspace.tenant, actor=ACTOR, on=on, **terms)


def of(workspace: Workspace, **whom: Any) -> list[QuotaStanding]:
    return quotas_applying(workspace.tenant, at=NOW, **whom)


def ids(standings: list[QuotaStanding]) -> list[Any]:
    return [(standing.terms.id, standing.terms.subject_id) for standing in standings]


def test_quotas_applying__to_an_agent__come_from_the_leaf_to_the_root_then_by_meter() -> None:
    workspace = Workspace.make()
    Meter.objects.create(tenant=workspace.tenant, code="calls", name="Calls", unit="call")
    for_tenant = own(workspace, {"tenant": True})
    for_customer = own(workspace, {"customer": workspace.customer.public_id})
    on_license = own(workspace, {"license": workspace.license.public_id})
    of_plan = workspace.quota()
    each_agent = workspace.quota(scope=Scope.AGENT)
    on_parent = own(workspace, {"agent": workspace.agent.public_id}, meter="calls")
    on_worker = own(workspace, {"agent": workspace.worker.public_id}, meter="calls")

    found = ids(of(workspace, agent=workspace.worker))

    assert found == [
        (on_worker.id, workspace.worker.id),
        (each_agent.id, workspace.worker.id),
        (on_parent.id, workspace.agent.id),
        (each_agent.id, workspace.agent.id),
        (of_plan.id, workspace.license.id),
        (on_license.id, workspace.license.id),
        (for_customer.id, workspace.customer.id),
        (for_tenant.id, workspace.tenant.id),
    ]
    assert ids(of(workspace, agent=workspace.agent)) == found[2:]
    assert ids(of(workspace, license=workspace.license)) == found[4:]
    assert ids(of(workspace, customer=workspace.customer)) == found[6:]


def test_quotas_applying__archived_or_of_others__are_left_out() -> None:
    workspace, foreign = Workspace.make(), Workspace.make("other-vendor")
    gone = workspace.quota()
    gone.archived_at = NOW
    gone.save()
    foreign.quota()
    stranger = License.objects.create(tenant=workspace.tenant, customer=workspace.customer, starts_at=OCTOBER)
    own(workspace, {"license": stranger.public_id})

    assert of(workspace, license=workspace.license) == []
    with pytest.raises(NotFound):
        of(workspace, license=foreign.license)
    with pytest.raises(NotFound):
        of(workspace, agent=foreign.agent)
    with pytest.raises(NotFound):
        of(workspace, customer=foreign.customer)


def test_quotas_applying__base_and_add_on_that_count_the_same__are_one_with_both_limits() -> None:
    workspace = Workspace.make()
    of_add_on = workspace.quota("40", plan=workspace.add_on(), mode=QuotaMode.HARD)
    of_base = workspace.quota("100", mode=QuotaMode.SOFT)
    workspace.balance(of_base, "130")

    [standing] = of(workspace, license=workspace.license)

    assert (standing.terms.id, standing.terms.key) == (of_base.id, of_base.key)
    assert (standing.terms.limit, standing.terms.mode) == (Decimal(140), QuotaMode.SOFT)
    assert (standing.used, standing.remaining, standing.state) == (130, 10, QuotaState.NEAR_LIMIT)
    assert of_add_on.id != standing.terms.id


def test_quotas_applying__customer_with_several_licenses__each_plan_once_and_base_plans_apart() -> None:
    workspace = Workspace.make()
    mine = workspace.quota("100", scope=Scope.CUSTOMER)
    add_on = workspace.add_on()
    more = workspace.quota("5", scope=Scope.CUSTOMER, plan=add_on)
    other = Plan.objects.create(tenant=workspace.tenant, product=workspace.product, code="other", name="Other")
    theirs = workspace.quota("200", scope=Scope.CUSTOMER, plan=other)
    for base, extra in ((workspace.plan, add_on), (other, None)):
        license = License.objects.create(tenant=workspace.tenant, customer=workspace.customer, starts_at=OCTOBER)
        LicensePlan.objects.create(tenant=workspace.tenant, license=license, plan=base, role=PlanRole.BASE)
        if extra is not None:
            LicensePlan.objects.create(tenant=workspace.tenant, license=license, plan=extra, role=PlanRole.ADD_ON)

    found = {standing.terms.key: standing.terms.limit for standing in of(workspace, customer=workspace.customer)}

    assert found == {mine.key: Decimal(105), theirs.key: Decimal(200)}
    assert more.key not in found


@pytest.mark.parametrize(
    ("used", "held", "left", "state"),
    [
        ("79", "0", "21", QuotaState.OK),
        ("50", "30", "20", QuotaState.NEAR_LIMIT),
        ("60", "40", "0", QuotaState.EXCEEDED),
        ("140", "0", "0", QuotaState.EXCEEDED),
    ],
)
def test_quotas_applying__hard__used_and_held_count(used: str, held: str, left: str, state: QuotaState) -> None:
    workspace = Workspace.make()
    quota = workspace.quota(mode=QuotaMode.HARD)
    balance = workspace.balance(quota, used)
    if held != "0":
        workspace.hold(held, balance, expires_at=NOW + timedelta(seconds=1))

    [standing] = of(workspace, license=workspace.license)

    assert (standing.used, standing.held, standing.remaining) == (Decimal(used), Decimal(held), Decimal(left))
    assert (standing.state, standing.resets_at, standing.window.start) == (state, DECEMBER, NOVEMBER)


def test_quotas_applying__expired_hold__reserves_nothing_and_nothing_is_written() -> None:
    workspace = Workspace.make()
    balance = workspace.balance(workspace.quota(mode=QuotaMode.HARD), "60")
    workspace.hold("30", balance, expires_at=NOW)
    workspace.hold("5", balance, expires_at=NOW + timedelta(microseconds=1))

    [standing] = of(workspace, license=workspace.license)

    assert (standing.held, standing.remaining) == (Decimal(5), Decimal(35))
    balance.refresh_from_db()
    assert balance.held == Decimal(35)
    assert (Hold.objects.filter(status="open").count(), HoldLine.objects.filter(open=True).count()) == (2, 2)


def test_quotas_applying__new_quota_without_a_balance__counts_what_the_period_has_seen() -> None:
    workspace = Workspace.make()
    workspace.use("7", at=NOVEMBER, agent=workspace.worker, dimensions={"model": "large"})
    workspace.use("30", at=NOVEMBER - timedelta(microseconds=1), agent=workspace.worker)
    workspace.use("4", at=NOVEMBER + timedelta(days=1), agent=workspace.agent)
    workspace.quota(scope=Scope.AGENT)
    own(workspace, {"license": workspace.license.public_id}, filter={"model": "large"})
    own(workspace, {"tenant": True}, period="lifetime")

    found = {standing.terms.scope: standing for standing in of(workspace, agent=workspace.agent)}

    assert {scope: str(standing.used) for scope, standing in found.items()} == {
        Scope.AGENT: "11.000000000000",
        Scope.LICENSE: "7.000000000000",
        Scope.TENANT: "41.000000000000",
    }
    assert found[Scope.TENANT].resets_at is None
    [worker_of_plan, *_] = of(workspace, agent=workspace.worker)
    assert worker_of_plan.used == Decimal(7)


def test_quotas_applying__detached_balance__is_counted_afresh() -> None:
    workspace = Workspace.make()
    workspace.use("9")
    workspace.balance(workspace.quota(), "2", detached_at=NOVEMBER)
    [standing] = of(workspace, license=workspace.license)
    assert standing.used == Decimal(9)


def test_quotas_applying__anchored_to_the_license__follows_its_start() -> None:
    workspace = Workspace.make()
    License.objects.filter(pk=workspace.license.pk).update(starts_at=datetime(2026, 8, 31, 8, tzinfo=UTC))
    own(workspace, {"agent": workspace.agent.public_id}, anchor="license")

    [standing] = of(workspace, agent=workspace.agent)

    assert standing.terms.anchor is Anchor.LICENSE
    assert standing.window.start == datetime(2026, 10, 31, 8, tzinfo=UTC)
    assert standing.resets_at == datetime(2026, 11, 30, 8, tzinfo=UTC)


def test_quotas_applying__top_ups__burnt_here_or_in_force_raise_the_limit() -> None:
    workspace = Workspace.make()
    quota = workspace.quota(mode=QuotaMode.HARD)
    balance = workspace.balance(quota, "120")

    def top_up(amount: str, used: str = "0", **fields: Any) -> TopUp:
        values: dict[str, Any] = {"starts_at": NOVEMBER, "subject_id": workspace.license.id, **fields}
        return TopUp.objects.create(
            tenant=workspace.tenant,
            quota=quota,
            quota_key=quota.key,
            scope=quota.scope,
            amount=Decimal(amount),
            used=Decimal(used),
            **values,
        )

    burnt = top_up("15", "15", expires_at=NOW - timedelta(days=1))
    live = top_up("25", "5", expires_at=NOW + timedelta(microseconds=1))
    top_up("1000", expires_at=NOW)
    top_up("1000", voided_at=NOW)
    top_up("1000", starts_at=NOW + timedelta(microseconds=1))
    top_up("1000", subject_id=workspace.agent.id)
    for each, quantity in ((burnt, "15"), (live, "5")):
        TopUpBurn.objects.create(tenant=workspace.tenant, top_up=each, balance=balance, quantity=Decimal(quantity))
    Balance.objects.filter(id=balance.id).update(burned=20)

    [standing] = of(workspace, license=workspace.license)

    assert (standing.top_ups, standing.remaining, standing.state) == (40, 20, QuotaState.NEAR_LIMIT)


def test_quotas_applying__many_quotas__the_reads_do_not_grow() -> None:
    workspace = Workspace.make()
    workspace.balance(workspace.quota(), "1")
    with CaptureQueriesContext(connection) as one:
        assert len(of(workspace, license=workspace.license)) == 1
    for model in ("large", "small", "tiny"):
        workspace.balance(workspace.quota(only={"model": model}), "1")
    with CaptureQueriesContext(connection) as four:
        assert len(of(workspace, license=workspace.license)) == 4
    assert len(four) == len(one)
