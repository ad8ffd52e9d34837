"""Plans with quotas and prices: nested creation, replacing by key, and prices that bill exactly one quota."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from common.errors import Invalid
from licenses.models import Plan
from metering.models import Balance, Price, Quota
from metering.selectors.billing import excess_of_licenses
from metering.selectors.prices import price_terms, prices_of_plan
from metering.selectors.quotas import quotas_of_plan
from metering.services.plan_terms import archive_plan_with_terms, create_plan_with_terms, update_plan_with_terms
from tenants.domain.actors import Actor, worker
from tenants.domain.enums import TenantMode
from tenants.models import AuditEntry, Epoch
from tenants.selectors.clocks import clock_of
from tests.metering.ledger_rows import NOVEMBER, Workspace

pytestmark = pytest.mark.django_db

ACTOR: Actor = worker("test")
SOFT = {"meter": "tokens", "limit": "1000000", "period": "month", "mode": "soft"}
HARD = {"meter": "tokens", "limit": "50000", "period": "day", "mode": "hard", "scope": "agent"}
PRICE = {"meter": "tokens", "currency": "USD", "model": "per_unit", "unit_price": "0.000002"}


def _plan(workspace: Workspace, **fields: Any) -> Plan:
    named = {"code": "team", "name": "Team", "product": "researcher"}
    return create_plan_with_terms(tenant=workspace.tenant, actor=ACTOR, **{**named, **fields})


def _update(workspace: Workspace, plan: Plan, **changes: Any) -> Plan:
    return update_plan_with_terms(tenant=workspace.tenant, plan_id=plan.id, actor=ACTOR, **changes)


def test_create_plan_with_terms__quotas_and_prices__all_in_one() -> None:
    workspace = Workspace.make()

    plan = _plan(workspace, quotas=[SOFT, HARD], prices=[PRICE])

    soft, hard = quotas_of_plan(plan)
    assert (soft.scope, soft.mode, soft.limit, soft.thresholds) == ("license", "soft", Decimal(1000000), [80, 100])
    assert (hard.scope, hard.mode, hard.period, hard.limit) == ("agent", "hard", "day", Decimal(50000))
    [price] = prices_of_plan(plan)
    assert (price.model, price.currency, price.unit_price) == ("per_unit", "USD", Decimal("0.000002"))
    assert (price.included_units, price.minimum, price.starts_at) == (0, None, None)
    actions = sorted(AuditEntry.objects.values_list("action", flat=True))
    assert actions == ["plan.created", "price.created", "quota.created", "quota.created"]


def test_create_plan_with_terms__something_wrong__nothing_is_made() -> None:
    workspace = Workspace.make()
    with pytest.raises(Invalid):
        _plan(workspace, quotas=[SOFT], prices=[{**PRICE, "unit_price": "-1"}])
    assert Plan.objects.filter(code="team").count() == 0
    assert (Quota.objects.count(), Price.objects.count(), AuditEntry.objects.count()) == (0, 0, 0)
    assert Epoch.objects.count() == 0


@pytest.mark.parametrize(
    ("quotas", "prices", "field", "code"),
    [
        ([{**SOFT, "limt": 1}], [], "quotas.0.limt", "unknown_field"),
        ([SOFT, {**HARD, "limit": "x"}], [], "quotas.1.limit", "quantity_invalid"),
        ([{**SOFT, "scope": "tenant"}], [], "quotas.0.scope", "invalid"),
        (["tokens"], [], "quotas.0", "invalid"),
        ({"meter": "tokens"}, [], "quotas", "invalid"),
        ([], [PRICE], "prices.0", "price_without_quota"),
        ([{**SOFT, "mode": "hard"}], [PRICE], "prices.0", "price_without_quota"),
        ([{**SOFT, "scope": "customer"}], [PRICE], "prices.0", "price_without_quota"),
        ([{**SOFT, "filter": {"model": "large"}}], [PRICE], "prices.0", "price_without_quota"),
        ([SOFT], [{**PRICE, "filter": {"model": "large"}}], "prices.0", "price_without_quota"),
        ([SOFT, {**SOFT, "period": "day"}], [PRICE], "prices.0", "price_ambiguous"),
        (
            [{**SOFT, "period": "lifetime"}],
            [PRICE, {**PRICE, "starts_at": NOVEMBER}],
            "prices.1.starts_at",
            "price_never_bills",
        ),
        ([SOFT], [PRICE, {**PRICE, "unit_price": "1"}], "prices.1", "price_repeated"),
        ([SOFT], [PRICE, {**PRICE, "currency": "EUR"}], "prices.1.currency", "currency_mixed"),
        ([SOFT], [{**PRICE, "currency": "US"}], "prices.0.currency", "currency_invalid"),
        ([SOFT], [{**PRICE, "currency": "ZZZ"}], "prices.0.currency", "currency_invalid"),
        ([SOFT], [{**PRICE, "currency": "XTS"}], "prices.0.currency", "currency_invalid"),
        ([SOFT], [{**PRICE, "model": "tiered"}], "prices.0.model", "model_unknown"),
        ([SOFT], [{**PRICE, "package_size": "5"}], "prices.0.package_size", "not_allowed"),
        ([SOFT], [{**PRICE, "price": "5"}], "prices.0.price", "unknown_field"),
        ([SOFT], [{**PRICE, "meter": "words"}], "prices.0.meter", "unknown_meter"),
        ([SOFT], [{"meter": "tokens", "model": "package", "package_size": "0", "package_price": "1"}],
         "prices.0.package_size", "not_positive"),
        ([SOFT], [{"meter": "tokens", "model": "graduated", "tiers": [{"up_to": "5", "unit_price": "1"}]}],
         "prices.0.tiers.0.up_to", "last_tier_not_open"),
    ],
)  # fmt: skip
def test_create_plan_with_terms__bad_terms__are_refused_by_path(
    quotas: Any, prices: Any, field: str, code: str
) -> None:
    workspace = Workspace.make()
    with pytest.raises(Invalid) as refusal:
        _plan(workspace, quotas=quotas, prices=prices)
    assert [(error["field"], error["code"]) for error in refusal.value.errors] == [(field, code)]
    assert Plan.objects.filter(code="team").count() == 0


def test_create_plan_with_terms__two_quotas_of_one_key__are_one_too_many() -> None:
    workspace = Workspace.make()
    with pytest.raises(Invalid) as refusal:
        _plan(workspace, quotas=[SOFT, {**SOFT, "limit": "5", "mode": "hard"}])
    assert [(error["field"], error["code"]) for error in refusal.value.errors] == [("quotas.1", "duplicate")]


def test_create_plan_with_terms__pay_per_use_and_all_models__are_stored_exactly() -> None:
    workspace = Workspace.make()
    tiers = [{"up_to": "1000", "unit_price": "0.01", "flat_fee": "0"}, {"up_to": None, "unit_price": 0.005}]

    plan = _plan(
        workspace,
        quotas=[
            {**SOFT, "limit": 0},
            {**SOFT, "limit": 0, "filter": {"model": "large"}},
            {**SOFT, "limit": 0, "filter": {"model": "small"}},
        ],
        prices=[
            {"meter": "tokens", "model": "package", "package_size": "1000", "package_price": "1.5", "minimum": "2"},
            {"meter": "tokens", "model": "graduated", "tiers": tiers, "filter": {"model": "large"}},
            {"meter": "tokens", "model": "volume", "tiers": tiers, "filter": {"model": "small"}, "included_units": 10},
        ],
    )

    package, graduated, volume = prices_of_plan(plan)
    assert (package.package_size, package.package_price, package.minimum) == (1000, Decimal("1.5"), 2)
    assert package.currency == "USD"
    assert graduated.tiers == [
        {"up_to": "1000", "unit_price": "0.01", "flat_fee": "0"},
        {"up_to": None, "unit_price": "0.005", "flat_fee": "0"},
    ]
    assert price_terms(volume).tiers[1].unit_price == Decimal("0.005")
    assert price_terms(volume).included_units == 10


def test_update_plan_with_terms__quota_with_the_same_key__keeps_id_and_balance() -> None:
    workspace = Workspace.make()
    plan = _plan(workspace, quotas=[SOFT, HARD])
    soft, hard = quotas_of_plan(plan)
    counted, gone = workspace.balance(soft, "700"), workspace.balance(hard, "3")

    _update(
        workspace,
        plan,
        quotas=[{**SOFT, "limit": "5", "ceiling": "6", "thresholds": [50]}, {**SOFT, "scope": "customer"}],
    )

    kept, new = quotas_of_plan(plan)
    assert (kept.id, kept.limit, kept.ceiling, kept.thresholds) == (soft.id, 5, 6, [50])
    assert (new.scope, new.limit) == ("customer", Decimal(1000000))
    hard.refresh_from_db()
    assert hard.archived_at is not None
    detached = dict(Balance.objects.values_list("id", "detached_at"))
    assert (detached[counted.id] is None, detached[gone.id] is None) == (True, False)
    actions = list(AuditEntry.objects.filter(action__startswith="quota.").values_list("action", flat=True))
    assert sorted(actions) == ["quota.archived", "quota.created", "quota.created", "quota.created", "quota.updated"]


def test_update_plan_with_terms__lists_not_given__stay() -> None:
    workspace = Workspace.make()
    plan = _plan(workspace, quotas=[SOFT], prices=[PRICE])

    changed = _update(workspace, plan, name="Team 2")

    assert changed.name == "Team 2"
    assert (quotas_of_plan(plan).count(), prices_of_plan(plan).count()) == (1, 1)


def test_update_plan_with_terms__same_lists__change_nothing() -> None:
    workspace = Workspace.make()
    plan = _plan(workspace, quotas=[SOFT, HARD], prices=[PRICE])
    before = AuditEntry.objects.count()
    rows = [list(quotas_of_plan(plan).values_list("id")), list(prices_of_plan(plan).values_list("id"))]

    _update(workspace, plan, quotas=[HARD, SOFT], prices=[{**PRICE, "unit_price": 0.000002}])

    assert AuditEntry.objects.count() == before
    assert [list(quotas_of_plan(plan).values_list("id")), list(prices_of_plan(plan).values_list("id"))] == rows


def test_update_plan_with_terms__price_that_changed__is_archived_and_made_anew() -> None:
    workspace = Workspace.make()
    plan = _plan(workspace, quotas=[SOFT], prices=[PRICE])
    [old] = prices_of_plan(plan)

    _update(workspace, plan, prices=[{**PRICE, "unit_price": "0.000003"}])

    [new] = prices_of_plan(plan)
    old.refresh_from_db()
    assert (old.archived_at is not None, old.unit_price) == (True, Decimal("0.000002"))
    assert (new.id != old.id, new.unit_price) == (True, Decimal("0.000003"))


def test_update_plan_with_terms__price_taken_away_in_a_workspace_ahead__bills_the_period_that_runs_there() -> None:
    workspace = Workspace.make(mode=TenantMode.TEST, clock_offset=timedelta(days=60))
    quota = workspace.quota("0")
    price = workspace.price("1")
    there = clock_of(workspace.tenant).now()
    balance = workspace.balance(quota, "5", month=there - timedelta(days=1))

    _update(workspace, workspace.plan, prices=[])

    price.refresh_from_db()
    assert price.archived_at is not None
    assert price.archived_at >= there
    [excess] = excess_of_licenses([(workspace.tenant.id, workspace.license.id)])
    assert (excess.balance_id, excess.price_id) == (balance.id, price.id)


def test_update_plan_with_terms__quota_of_a_price_goes__is_refused_as_a_whole() -> None:
    workspace = Workspace.make()
    plan = _plan(workspace, quotas=[SOFT], prices=[PRICE])

    with pytest.raises(Invalid) as refusal:
        _update(workspace, plan, quotas=[HARD])
    assert refusal.value.code == "price_without_quota"
    assert [quota.mode for quota in quotas_of_plan(plan)] == ["soft"]

    _update(workspace, plan, quotas=[HARD], prices=[])
    assert [quota.mode for quota in quotas_of_plan(plan)] == ["hard"]
    assert prices_of_plan(plan).count() == 0


def test_update_plan_with_terms__base_plan_gets_the_quota_of_an_add_on__its_balances_are_let_go_of() -> None:
    workspace = Workspace.make()
    add_on = workspace.add_on()
    of_add_on = workspace.quota("10", plan=add_on)
    balance = workspace.balance(of_add_on, "4")

    _update(workspace, workspace.plan, quotas=[SOFT])

    balance.refresh_from_db()
    assert balance.detached_at is not None


def test_archive_plan_with_terms__quotas_and_prices__stay_for_those_who_have_it() -> None:
    workspace = Workspace.make()
    plan = _plan(workspace, quotas=[SOFT], prices=[PRICE])

    archived = archive_plan_with_terms(tenant=workspace.tenant, plan_id=plan.id, actor=ACTOR)

    assert archived.archived_at is not None
    assert (quotas_of_plan(plan).count(), prices_of_plan(plan).count()) == (1, 1)
